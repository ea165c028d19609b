"""What the commands of `analysis` share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from analysis.figures.look import WIDTHS, Look
from study.cli.arguments import Arguments, Key
from study.cli.studies import RESULTS, study_folder
from study.errors import nearest

__all__ = ["EXIT", "LOOK", "RESULTS", "draw_report", "look_of"]

EXIT = [("", "0 the report is drawn, 2 wrong usage or nothing to draw, 130/143 after a signal")]

LOOK = {
    "width": Key(
        "figures for print alone, 8 pt at their final size: column (3.25 inches) or page (6.75)", "column",
        refuse=lambda value: "" if value in WIDTHS else nearest(value, WIDTHS),
    ),
    "highlight": Key("methods in colour, all others grey", "ether_plus,lora"),
    "order": Key("methods that come first", "lora,ether"),
}  # fmt: skip
"""Keys of the commands that draw figures; see `analysis.figures.look`."""


def look_of(keys: dict[str, str]) -> Look:
    """The look that the keys LOOK ask for."""
    named = {key: tuple(filter(None, keys[key].split(","))) for key in ("highlight", "order")}
    return Look(keys["width"], named["highlight"], named["order"])


def draw_report(draw: Callable[[Path, Look], Path], arguments: Arguments, file: str = "runs.parquet") -> int:
    """Draws the report of the study that is named, or its figures for print, and says where they are.

    Args:
        file: that the study's folder has.
    """
    folder = study_folder(arguments.names[0], arguments.keys["results"], file)
    look = look_of(arguments.keys)
    print(f"{'figures' if look.width else 'report'}: {draw(folder, look)}")
    return 0
