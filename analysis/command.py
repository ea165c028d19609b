"""What the commands of `analysis` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from study.cli.arguments import Arguments
from study.cli.studies import RESULTS, study_folder

__all__ = ["EXIT", "RESULTS", "draw_report"]

EXIT = [("", "0 the report is drawn, 2 wrong usage or nothing to draw, 130/143 after a signal")]


def draw_report(draw: Callable[[Path], Path], arguments: Arguments, file: str = "runs.parquet") -> int:
    """Draws the report of the study that is named and says where it is.

    Args:
        file: that the study's folder has.
    """
    folder = study_folder(arguments.names[0], arguments.keys["results"], file)
    print(f"report: {draw(folder)}")
    return 0
