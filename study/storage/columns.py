"""Rows of one table, kept by column: what a record file holds, for millions of rows are read from such files.

A column that says the same in every row is kept once, so that a pack's settings and versions cost nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Columns:
    """A table.

    Attributes:
        rows: how many.
        values: each column's values in the order of the rows; one alone if all rows have the same.
        absent: rows that a column says nothing of, where there are any; None stands in `values` there.
    """

    rows: int
    values: dict[str, list[Any]]
    absent: dict[str, list[int]] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, rows: Sequence[Mapping[str, Any]]) -> Columns:
        values: dict[str, list[Any]] = {}
        absent: dict[str, list[int]] = {}
        for name in dict.fromkeys(name for row in rows for name in row):
            column = [row.get(name) for row in rows]
            values[name] = column[:1] if _same(column) else column
            if missing := [place for place, row in enumerate(rows) if name not in row]:
                absent[name] = missing
        return cls(len(rows), values, absent)

    def to_rows(self) -> list[dict[str, Any]]:
        """The rows that it was made of."""
        columns = {name: self.column(name) for name in self.values}
        rows = [{name: column[place] for name, column in columns.items()} for place in range(self.rows)]
        for name, places in self.absent.items():
            for place in places:
                del rows[place][name]
        return rows

    def column(self, name: str) -> list[Any]:
        """One value per row; None where nothing is said."""
        values = self.values.get(name, [None])
        return values * self.rows if len(values) == 1 else values

    def chosen(self, places: Sequence[int]) -> Columns:
        """The rows at these places, in this order."""
        values = {
            name: column if len(column) == 1 else [column[place] for place in places]
            for name, column in self.values.items()
        }
        absent = {
            name: [new for new, old in enumerate(places) if old in missing]
            for name, missing in ((name, set(missing)) for name, missing in self.absent.items())
        }
        return Columns(len(places), values, {name: missing for name, missing in absent.items() if missing})

    def to_json(self) -> dict[str, Any]:
        return vars(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Columns:
        return cls(content["rows"], content["values"], content["absent"])


def _same(values: Iterable[Any]) -> bool:
    """Whether all are the same value of the same type, to the bit."""
    spelled = (f"{type(value).__name__} {value!r}" for value in values)
    first = next(spelled, None)
    return all(each == first for each in spelled)
