"""Tables 2 to 5, 9 and 11 in the form in which the paper prints them: methods down, what is scored across."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pandas as pd

from analysis.data.metrics import REAL, REPEATED
from analysis.figures.style import NAMES
from analysis.paper.published import printed
from analysis.paper.tables import AVERAGE, BASE, ENCODER, HEAD
from analysis.statistics.intervals import seeds_text

TITLES = NAMES | {
    BASE: "base model", HEAD: "trained head alone", "vera": "VeRA",
    ENCODER: "encoder only", REAL: "real pictures", REPEATED: "training pictures, repeated",
}  # fmt: skip


def as_printed(table: int) -> pd.DataFrame:
    """A table of the paper as it stands: methods down; subsets, benchmarks or scores across."""
    numbers = printed(table)
    return _wide(numbers, numbers.columns[3], lambda row, _: f"{row['printed']:.2f}")


def ours(table: pd.DataFrame, scale: str) -> pd.DataFrame | None:
    """Our scores at one scale, from one of the tables above, in the printed form; None without any.

    A cell is the mean and, with several seeds, its 95 % interval; it says its seeds where the row's cells
    have different numbers of them.
    """
    across = str(table.columns[3])
    of_scale = table[(table["scale"] == scale) & table["ours"].notna()]
    if of_scale.empty:
        return None
    columns, metric = of_scale[across], of_scale["metric"]
    says_metric = (columns == AVERAGE) | (columns == metric)
    titles = columns.where(says_metric, columns + " (" + metric + ")")
    return _wide(of_scale.assign(**{across: titles}), across, _cell, ["parameters", "seeds"])


def sources(table: pd.DataFrame, scale: str) -> str:
    """The models and data behind our scores at one scale."""
    of_scale = table[(table["scale"] == scale) & table["study"].notna()]
    return "; ".join(f"{model} on {data}" for model, data in of_scale.groupby(["model", "data"]).groups)


def _wide(
    table: pd.DataFrame,
    across: str,
    cell: Callable[[pd.Series, pd.DataFrame], str],
    counts: Sequence[str] = ("parameters",),
) -> pd.DataFrame:
    """Methods down; a column for each of `counts`, whose values may differ within a row, then `across`."""
    rows = []
    for (method, options), cells in table.groupby(["method", "options"], sort=False):
        row = {"method": TITLES.get(method, method), "options": options}
        for name in counts:
            ends = cells[name].dropna().agg(["min", "max"]).dropna()
            row[name] = " to ".join(dict.fromkeys(f"{count:,.0f}" for count in ends))
        rows.append(row | {r[across]: cell(r, cells) for _, r in cells.iterrows()})
    return pd.DataFrame(rows, columns=["method", "options", *counts, *table[across].unique()]).fillna("")


def _cell(row: pd.Series, of_method: pd.DataFrame) -> str:
    text = f"{row['ours']:.2f}"
    if pd.notna(row["low"]):
        text += f" [{row['low']:.2f}, {row['high']:.2f}]"
    if of_method["seeds"].nunique() > 1 and pd.notna(row["seeds"]):
        text += f" ({seeds_text(int(row['seeds']), int(row['seeds']))})"
    return text
