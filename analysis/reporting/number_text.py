"""Figures with their intervals as text."""

from __future__ import annotations

import pandas as pd


def number_text(value: float) -> str:
    if pd.isna(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.1e}"


def interval_text(row: pd.Series, name: str) -> str:
    """`0.81 [0.79, 0.83]`, or the figure alone where it has no spread.

    Args:
        row: of the robustness table, with columns `name`, `name`_low and `name`_high.
    """
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if pd.isna(low) or low == high == row[name]:
        return number_text(row[name])
    return f"{number_text(row[name])} [{number_text(low)}, {number_text(high)}]"
