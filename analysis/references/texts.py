"""Tables in README and docs whose figures come from committed studies.

A comment above a table says where its columns come from:

    <!-- of results/reference: lr_grid.tuned_test lr_grid.regret_window -->
    <!-- of results/reference, in percent: ... -->

Each word is STUDY.FIGURE, a column of that study's robustness.csv (of `across`, what travels between the
studies' tasks: of transfer.csv) with its interval, and stands for one column of the table, from the second.
Rows of methods (`LoRA r8`: the first word is its name) are written anew; a cell of `-` or nothing, and every
other row, stays as it is.
"""

from __future__ import annotations

import math
import re
from pathlib import Path

import pandas as pd

from analysis.data.names import label_name
from analysis.references.studies import ACROSS
from study.errors import UsageError
from study.paths import REFERENCE

MARK = re.compile(r"<!-- of results/reference(?P<percent>, in percent)?: (?P<columns>[\w. ]+) -->")


def rewritten(text: str, reference: Path = REFERENCE) -> str:
    """The text with the figures of its marked tables as the studies have them.

    Raises:
        UsageError: if a mark names no study or figure, or a table has other columns than its mark.
    """
    lines = text.splitlines(keepends=True)
    for start, line in enumerate(lines):
        if not (mark := MARK.fullmatch(line.strip())):
            continue
        scale = 100 if mark["percent"] else 1
        columns = [_texts(column, scale, reference) for column in mark["columns"].split()]
        for i in range(start + 1, len(lines)):
            if not lines[i].startswith("|"):
                break
            lines[i] = _row(lines[i], columns)
    return "".join(lines)


def _row(line: str, columns: list[dict[str, str]]) -> str:
    name, *cells = (cell.strip() for cell in line.strip().strip("|").split("|"))
    if len(cells) != len(columns):
        raise UsageError(f"{line.strip()}: {len(cells)} columns, and its table's mark names {len(columns)}")
    method = name.partition(" ")[0]
    new = [
        cell if cell in ("", "-") else texts.get(method, cell)
        for cell, texts in zip(cells, columns, strict=True)
    ]
    return line if new == cells else f"| {' | '.join([name, *new])} |\n"


def _texts(column: str, scale: int, reference: Path) -> dict[str, str]:
    """The figures of a column, `.908 [.897, .919]`, by the name of the method."""
    study, _, figure = column.partition(".")
    path = reference / study / ("transfer.csv" if study == ACROSS else "robustness.csv")
    if not path.exists():
        raise UsageError(f"{column}: no study {study} in {reference}")
    table = pd.read_csv(path)
    if figure not in table:
        raise UsageError(f"{column}: {path} has no column {figure}")
    texts: dict[str, str] = {}
    for _, row in table.iterrows():
        value, low, high = (float(row.get(f"{figure}{end}", math.nan)) for end in ("", "_low", "_high"))
        interval = f" [{number(low, scale)}, {number(high, scale)}]" if math.isfinite(low + high) else ""
        texts.setdefault(
            label_name(row["label"], row.get("method", row["label"])), f"{number(value, scale)}{interval}"
        )
    return texts


def number(value: float, scale: int) -> str:
    """`.908`, or in percent `90.8`; what rounds to zero has no sign."""
    text = f"{value * scale:.{3 if scale == 1 else 1}f}"
    if float(text) == 0:
        text = text.removeprefix("-")
    return re.sub(r"^(-?)0\.", r"\1.", text) if scale == 1 else text
