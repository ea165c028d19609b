"""Tables 4 and 5 in the form in which the paper prints them: methods down, subsets or benchmarks across."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from analysis.figures.style import NAMES
from analysis.paper.published import printed
from analysis.paper.tables import AVERAGE, BASE, HEAD

TITLES = NAMES | {BASE: "base model", HEAD: "trained head alone", "vera": "VeRA"}


def as_printed(table: int) -> pd.DataFrame:
    """The paper's Table 4 or 5 as it stands: methods down, subsets or benchmarks across."""
    numbers = printed(table)
    return _wide(numbers, numbers.columns[3], lambda row: f"{row['printed']:.2f}")


def ours(table: pd.DataFrame, scale: str) -> pd.DataFrame | None:
    """Our scores at one scale, from one of the tables above, in the printed form; None without any.

    A cell is the mean and, with several seeds, its 95 % interval.
    """
    across = str(table.columns[3])
    of_scale = table[(table["scale"] == scale) & table["ours"].notna()]
    if of_scale.empty:
        return None
    columns, metric = of_scale[across], of_scale["metric"]
    says_metric = (columns == AVERAGE) | (columns == metric)
    titles = columns.where(says_metric, columns + " (" + metric + ")")
    return _wide(of_scale.assign(**{across: titles}), across, _cell)


def sources(table: pd.DataFrame, scale: str) -> str:
    """The models and data behind our scores at one scale."""
    of_scale = table[(table["scale"] == scale) & table["study"].notna()]
    return "; ".join(f"{model} on {data}" for model, data in of_scale.groupby(["model", "data"]).groups)


def _wide(table: pd.DataFrame, across: str, cell: Callable[[pd.Series], str]) -> pd.DataFrame:
    rows = []
    for (method, options), cells in table.groupby(["method", "options"], sort=False):
        counts = cells["parameters"].dropna().agg(["min", "max"])
        span = " to ".join(dict.fromkeys(f"{count:,.0f}" for count in counts.dropna()))
        row = {"method": TITLES.get(method, method), "options": options, "parameters": span}
        rows.append(row | {r[across]: cell(r) for _, r in cells.iterrows()})
    return pd.DataFrame(rows, columns=["method", "options", "parameters", *table[across].unique()]).fillna("")


def _cell(row: pd.Series) -> str:
    mean = f"{row['ours']:.2f}"
    return mean if pd.isna(row["low"]) else f"{mean} [{row['low']:.2f}, {row['high']:.2f}]"
