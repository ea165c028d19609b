"""Figures with their intervals as text, and columns of them aligned at the decimal point."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd

ROUNDING = 1e-12
"""What is smaller is 0 but for rounding."""

NUMBER = re.compile(r"[-+−]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?")
FIGURE_SPACE, POINT_SPACE = "\u2007", "\u2008"
"""As wide as a digit and as a point, in fonts whose digits are all equally wide."""


def number_text(value: float) -> str:
    """Three significant digits: `0.908`, `0.0100`, `1,728`, `1.23e-05`; what is 0 but for rounding is `0`."""
    if pd.isna(value):
        return "–"
    if abs(value) < ROUNDING:
        return "0"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    text = f"{value:#.3g}".rstrip(".")
    return text if abs(value) >= 1e-4 else f"{value:.2e}"


def rate_text(value: float) -> str:
    """A learning rate, or another setting, without zeros that say nothing: `0.01`, `0.00316`, `1e-05`."""
    return "–" if pd.isna(value) else f"{value:.3g}"


def interval_text(row: pd.Series, name: str) -> str:
    """`0.810 [0.790, 0.830]`, or the figure alone where it has no spread.

    Args:
        row: of the robustness table, with columns `name`, `name`_low and `name`_high.
    """
    text = rate_text if name == "best_lr" else number_text
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if pd.isna(low) or low == high == row[name]:
        return text(row[name])
    return f"{text(row[name])} [{text(low)}, {text(high)}]"


def aligned(texts: Sequence[str]) -> list[str]:
    """The texts of a column, filled up so that, set flush right, the points of their numbers are aligned.

    The first number of each cell counts; what follows it, such as an interval, begins at one place, too.
    A text without a number is left as it is.
    """
    found = [NUMBER.search(text) for text in texts]
    fraction = max((len(_fraction(number)) for number in found if number), default=0)
    rest = max(
        (len(text) - number.end() for text, number in zip(texts, found, strict=True) if number), default=0
    )
    filled = []
    for text, number in zip(texts, found, strict=True):
        if number:
            behind = text[number.end() :]
            blank = _blank(_fraction(number), fraction)
            text = text[: number.end()] + blank + behind + FIGURE_SPACE * (rest - len(behind))
        filled.append(text)
    return filled


def _fraction(number: re.Match[str]) -> str:
    """The point of a number, and what stands behind it."""
    _, point, digits = number.group().partition(".")
    return point + digits


def _blank(behind: str, length: int) -> str:
    """What fills a fraction up to a length; a point is narrower than a digit."""
    lacking = length - len(behind)
    if not lacking:
        return ""
    return FIGURE_SPACE * lacking if behind else POINT_SPACE + FIGURE_SPACE * (lacking - 1)
