"""The figures of a comparison as text, for sentences and for tables."""

from __future__ import annotations

import math

import pandas as pd

from analysis.comparison.decisions import EXACT


def cost_text(name: str, value: float) -> str:
    """A cost of COSTS, in the unit of its title."""
    if pd.isna(value):
        return "–"
    if name == "adapter_bytes":
        value /= 1000
    return f"{value:,.0f}" if name == "parameters" or value >= 1000 else f"{value:.3g}"


def bound_prefix(row: pd.Series, side: str) -> str:
    """`at least ` where some of the plateaus behind a mean are lower bounds.

    Args:
        side: `baseline_` for the baseline's mean, else empty; as in `value_text`.
    """
    return "at least " if row["baseline_bounds" if side else "bounds"] else ""


def digits_of(row: pd.Series) -> int:
    """Decimals that show the interval's half width, or the difference without one, to two figures."""
    size = (row["high"] - row["low"]) / 2
    size = size if size > 1e-12 else abs(row["difference"])
    return min(6, max(0, 1 - math.floor(math.log10(size)))) if size > 1e-12 else 3


def value_text(row: pd.Series, side: str = "") -> str:
    """A mean, with as many decimals as the difference is known to."""
    value = row[f"{side}value"]
    return f"{value:.3g}" if row["difference"] == row["low"] == row["high"] else f"{value:.{digits_of(row)}f}"


def difference_text(row: pd.Series) -> str:
    """`+0.021 [+0.011, +0.031]`; without an interval where there is none; `–` without a pair.

    A difference from a lower bound is one itself, which has no interval: `at least +1.1`.
    """
    if pd.isna(row["difference"]):
        return "–"
    if row["difference_is"] != EXACT:
        return f"{row['difference_is']} {row['difference']:+.{digits_of(row)}f}"
    if row["low"] == row["high"]:
        return f"{row['difference']:+.3g} for every seed" if row["difference"] else "0 for every seed"
    digits = digits_of(row)
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    return f"{row['difference']:+.{digits}f}{interval}"


def p_text(p: float) -> str:
    """0 is no test's result: all differences are equal and not zero."""
    return "–" if pd.isna(p) else "no spread" if p == 0 else "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def training_mode(row: pd.Series) -> str:
    """`one by one (reason)`; the reason without what would end the sentence."""
    reason = " ".join(str(row["unpackable"]).split()).split(". ")[0].rstrip(".")
    return f"{row['packs']} ({reason})" if reason else str(row["packs"])
