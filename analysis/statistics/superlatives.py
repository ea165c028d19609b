"""Which method is best in a respect, and whether that can be said at all.

Only methods that learn take part, with at least three seeds at every rate (`analysis.statistics.learning`).
A plateau that reaches an end of the grid is a lower bound. It is the widest for certain if it exceeds every
other width and no other is a lower bound; else nobody's is.
"""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.statistics.learning import MIN_SEEDS


@dataclass(frozen=True)
class Superlative:
    """Who is first in a figure of the robustness table, and who is last.

    Attributes:
        first, last: rows of the table; None where nobody is.
        overlapping: labels whose 95 % interval overlaps the first one's.
        undecided_by: labels whose lower bounds leave the question open.
    """

    first: pd.Series | None
    last: pd.Series | None
    overlapping: tuple[str, ...] = ()
    undecided_by: tuple[str, ...] = ()


def contenders(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a robustness table that take part in superlatives."""
    return table[(table["not_learning"] == "") & (table["seeds"] >= MIN_SEEDS)]


def superlative(table: pd.DataFrame, name: str, more_is_first: bool) -> Superlative:
    """The first and the last of the contenders in one figure; nobody is where there are not two.

    Args:
        name: a column of the robustness table; a plateau, or one without lower bounds.
    """
    rows = contenders(table)
    rows = rows[rows[name].notna()].sort_values(name, ascending=not more_is_first, kind="stable")
    if len(rows) < 2:
        return Superlative(None, None)
    first, last = rows.iloc[0], rows.iloc[-1]
    others = rows.iloc[1:]
    if f"{name}_censored" in rows:
        bounds = rows[rows[f"{name}_censored"] != "none"]
        if len(bounds) > 1 or (len(bounds) == 1 and bounds["label"].iloc[0] != first["label"]):
            return Superlative(None, None, undecided_by=tuple(bounds["label"]))
    low, high = first[f"{name}_low"], first[f"{name}_high"]
    overlapping = others[(others[f"{name}_low"] <= high) & (others[f"{name}_high"] >= low)]
    return Superlative(first, last, tuple(overlapping["label"]))
