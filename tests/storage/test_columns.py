"""Rows by column: nothing is lost, whatever stands in a row."""

from __future__ import annotations

import math
from typing import Any

import pytest

from study.storage.columns import Columns
from study.storage.files import from_json, to_json

ROWS: list[dict[str, Any]] = [
    {"a": 1, "same": "x", "list": [1, 2], "nan": math.nan, "gap": None},
    {"a": 1.0, "same": "x", "list": [1, 2], "nan": math.nan},
    {"a": True, "same": "x", "list": [1, 3], "nan": math.nan, "gap": 0.1 + 0.2, "late": {"float": "nan"}},
    {"a": -0.0, "same": "x", "list": [], "nan": math.nan, "gap": math.inf},
]


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], ROWS[:2], [], [{}, {"a": 1}], [{}]])
def test_rows_come_back_as_they_were(rows: list[dict[str, Any]]) -> None:
    table = Columns.of_rows(rows)
    assert repr(table.to_rows()) == repr([sorted_like(table, row) for row in rows])


def sorted_like(table: Columns, row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in table.values if name in row}


def test_a_file_keeps_every_bit_and_type() -> None:
    table = Columns.of_rows(
        [{"a": value} for value in (1, 1.0, True, -0.0, 0.0, math.nan, -math.inf, 0.1 + 0.2)]
    )
    read = Columns.from_json(from_json(to_json(table.to_json())))
    assert repr(read) == repr(table)


def test_what_all_rows_share_is_kept_once() -> None:
    table = Columns.of_rows(ROWS)
    assert table.values["same"] == ["x"] and len(table.values["nan"]) == 1
    assert table.values["a"] == [1, 1.0, True, -0.0] and table.absent == {"gap": [1], "late": [0, 1, 3]}
    assert table.column("same") == ["x"] * 4 and table.column("gap")[1] is None
    assert table.column("no such column") == [None] * 4


def test_zeros_of_two_signs_and_numbers_of_two_types_are_not_the_same() -> None:
    for values in ([0.0, -0.0], [1, 1.0], [1, True], [None, math.nan]):
        assert repr(Columns.of_rows([{"a": value} for value in values]).values["a"]) == repr(values)


def test_chosen_rows_in_their_order() -> None:
    chosen = Columns.of_rows(ROWS).chosen([3, 1])
    assert repr(chosen.to_rows()) == repr([sorted_like(chosen, ROWS[3]), sorted_like(chosen, ROWS[1])])
