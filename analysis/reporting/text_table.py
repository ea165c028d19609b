"""A table as text, as templates show it: three significant digits, points aligned, empty where nothing is."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pandas as pd

from analysis.data.labels import is_missing
from analysis.reporting.number_text import NUMBER, aligned, number_text

NUMERIC = re.compile(rf"[≥<±–\s\[\],()%†¶]*(({NUMBER.pattern})[≥<±–\s\[\],()%†¶]*)*")
"""Of a cell that is nothing but numbers and what stands around them."""


@dataclass(frozen=True)
class TextTable:
    """rows: a text for each of the columns. is_number: which columns hold numbers, and so are flush right."""

    columns: list[str]
    rows: list[list[str]]
    is_number: list[bool]


def table_text(table: pd.DataFrame) -> TextTable:
    """The table's values as text; a column of nothing but numbers is aligned at their points."""
    columns, is_number = [], []
    for name in table.columns:
        texts = [_text(value) for value in table[name]]
        numbers = any(NUMBER.search(text) for text in texts) and all(map(NUMERIC.fullmatch, texts))
        columns.append(aligned(texts) if numbers else texts)
        is_number.append(bool(numbers))
    rows = [list(row) for row in zip(*columns, strict=True)] if columns else []
    return TextTable([str(name) for name in table.columns], rows, is_number)


def _text(value: object) -> str:
    if is_missing(value):
        return ""
    return number_text(value) if isinstance(value, float) else str(value)
