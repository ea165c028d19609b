"""JSON and JSONL as columns of plain values; which of the two it is shows in the text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from study.errors import UsageError, first_line

KINDS = ((bool, "true or false"), (int | float, "a number"), (str, "text"))


def read_json(text: str, where: str) -> dict[str, list[Any]]:
    """Columns by name, None where a row lacks a key. A list of objects, or one object per line.

    Raises:
        UsageError: for the first row that is not an object with each key once.
    """
    if text.lstrip().startswith("["):
        rows = _parse(text, where)
        places = [f"row {i}" for i in range(1, len(rows) + 1)]
    else:
        text = text if "\n" in text else text.replace("\r", "\n")
        numbered = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        if numbered[0][1].strip() == "{" or (len(numbered) == 1 and _is_one_object_of_all(numbered[0][1])):
            raise UsageError(f"{where}: one object, not rows; give a list of objects, or an object per line")
        rows = [_parse(line, f"{where}: line {number}") for number, line in numbered]
        places = [f"line {number}" for number, _ in numbered]
    names: dict[str, None] = {}  # a set that stays in order
    for place, row in zip(places, rows, strict=True):
        if not isinstance(row, dict):
            raise UsageError(f"{where}: {place} is {_described(row)}, not an object with the columns' names")
        names |= dict.fromkeys(row)
    stripped = [name.strip() for name in names]
    if repeated := [name for i, name in enumerate(stripped) if name in stripped[:i]]:
        raise UsageError(f"{where}: two columns are called {repeated[0]!r}; give each a name of its own")
    return {name.strip(): [row.get(name) for row in rows] for name in names}


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    return next((words for kinds, words in KINDS if isinstance(value, kinds)), "a list or an object")


def mixed_kinds(values: Sequence[Any]) -> tuple[int, int] | None:
    """Positions of the first value and of the first that is of another kind; None if all are of one."""
    given = [(i, kind_of(value)) for i, value in enumerate(values) if value is not None]
    return next(((given[0][0], i) for i, kind in given if kind != given[0][1]), None)


def _parse(text: str, where: str) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        if repeated := [name for i, name in enumerate(names) if name in names[:i]]:
            raise UsageError(f"{where}: an object has {repeated[0]!r} twice")
        return dict(pairs)

    try:
        return json.loads(text, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: cannot be read as JSON: {first_line(error)}") from None


def _is_one_object_of_all(line: str) -> bool:
    """`{"text": ["a", "b"], ...}`, or pandas' {"text": {"0": "a", ...}}: columns, not a row."""
    try:
        content = json.loads(line)
    except ValueError:
        return False
    return isinstance(content, dict) and any(isinstance(v, dict | list) for v in content.values())


def _described(row: Any) -> str:
    return "nothing" if row is None else kind_of(row)
