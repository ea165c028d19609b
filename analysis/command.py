"""What the commands of `analysis` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from study.cli.arguments import Key

RESULTS = Key("where studies are kept", "FOLDER", default="results")
EXIT = [("", "0 the report is drawn, 2 wrong usage or nothing to draw, 130/143 after a signal")]


def draw_report(draw: Callable[[Path], Path], folder: Path) -> int:
    """Draws the report of the study in `folder` and says where it is."""
    print(f"report: {draw(folder)}")
    return 0
