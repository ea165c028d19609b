"""The three tables of a study, rebuilt from its records.

results/<name>/{runs,history,layers}.parquet and their sha256 in tables.sha256
"""

from __future__ import annotations

import hashlib
import itertools
import types
import typing
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.settings import TaskSettings
from study.storage import records
from study.storage.files import quarantine, write_atomically
from study.storage.records import RecordJson
from study.storage.rows import METRIC
from study.storage.schema import TABLES, Schema

if TYPE_CHECKING:
    import pandas as pd

SUMS = "tables.sha256"
CHUNK = 1000
"""Records turned into tables at a time: bounds the memory that a large study needs."""

EMPTY = {"string": "", "bool": False, "int64": 0, "float64": float("nan")}
"""What stands in a column of the schema where a record says nothing."""

FITTING = {
    (str, str),
    (str, bool),
    (str, int),
    (str, float),
    (float, float),
    (float, int),
    (int, int),
    (bool, bool),
}
"""A setting's type, and types of values that its column can hold as they are."""


def collect(folder: Path, order: list[str]) -> dict[str, pd.DataFrame]:
    """Rebuilds the tables from the records and writes them as parquet.

    Args:
        order: run_ids in the plan's order; runs beyond it come after, by run_id.

    Raises:
        CannotWrite: if the disk is full; the tables of before are intact.
    """
    import pandas as pd

    chunks = [_untyped(chunk) for chunk in _chunks(records.read_all(folder))] or [_untyped([])]
    rank = {run_id: i for i, run_id in enumerate(order)}
    run_ids = [run_id for chunk in chunks for run_id in chunk["runs"].run_id]
    ranked = sorted(run_ids, key=lambda run_id: (rank.get(run_id, len(rank)), run_id))
    position = {run_id: i for i, run_id in enumerate(ranked)}
    tables = {}
    for name, schema in TABLES.items():
        table = _with_typed_settings(pd.concat([c.pop(name) for c in chunks], ignore_index=True), schema)
        order_of_rows = table.run_id.map(position).to_numpy().argsort(kind="stable")
        tables[name] = table.iloc[order_of_rows].reset_index(drop=True)
    contents = {f"{name}.parquet": table.to_parquet(index=False) for name, table in tables.items()}
    for name, content in contents.items():
        write_atomically(folder / name, content)
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()]
    write_atomically(folder / SUMS, "".join(sums).encode())
    return tables


def tables(records_json: Iterable[RecordJson]) -> dict[str, pd.DataFrame]:
    """The three tables, with the columns and types of the schema, in the order of the records."""
    untyped = _untyped(list(records_json))
    return {name: _with_typed_settings(untyped[name], schema) for name, schema in TABLES.items()}


def damaged_tables(folder: Path) -> list[Path]:
    """The tables that are not what `collect` wrote."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    paths = [folder / name for name in known if Path(name).name == name and (folder / name).exists()]
    return [path for path in paths if hashlib.sha256(path.read_bytes()).hexdigest() != known[path.name]]


def quarantine_damaged(folder: Path) -> None:
    """Renames damaged tables."""
    for path in damaged_tables(folder):
        quarantine(path, "It is rebuilt from the records.")


def _chunks(records_json: Iterator[RecordJson]) -> Iterator[list[RecordJson]]:
    while chunk := list(itertools.islice(records_json, CHUNK)):
        yield chunk


def _untyped(records_json: Sequence[RecordJson]) -> dict[str, pd.DataFrame]:
    """The tables, but for the types of the settings' columns, which one chunk alone cannot tell."""
    rows = {"runs": [record["row"] for record in records_json]}
    for name in ("history", "layers"):
        rows[name] = [{"run_id": r["row"]["run_id"], **point} for r in records_json for point in r[name]]
    return {name: _untyped_table(rows[name], schema) for name, schema in TABLES.items()}


def _untyped_table(rows: list[dict[str, Any]], schema: Schema) -> pd.DataFrame:
    import pandas as pd

    columns = {}
    for column, (kind, _) in schema.items():
        values = [row.get(column) for row in rows]
        if kind in EMPTY:
            empty = EMPTY[kind]
            values = [empty if v is None or (v != v and kind != "float64") else v for v in values]
        columns[column] = pd.Series(values, dtype="str" if kind == "string" else kind)
    for column in sorted({column for row in rows for column in row} - set(schema)):
        columns[column] = pd.Series([row.get(column) for row in rows], dtype=object)
    return pd.DataFrame(columns, index=range(len(rows)))


def _with_typed_settings(table: pd.DataFrame, schema: Schema) -> pd.DataFrame:
    """Settings' columns, by name after the schema's, each with one type that it has in every study."""
    settings = sorted(set(table.columns) - set(schema))
    table = table[[*schema, *settings]].copy()
    for column in settings:
        table[column] = _typed(column, table[column])
    return table


def _typed(column: str, values: pd.Series) -> pd.Series:
    """Integers stay integers beside gaps, and a column of gaps alone has the type of its setting.

    Lists and dicts become text, for parquet keeps one type per column. Values that are not of their setting's
    type, as a version may have written that knew the setting as another, keep theirs.
    """

    gaps = values.isna()
    kind, found = _kind_of_setting(column), _kind_of_values(list(values[~gaps]))
    if kind is None or (not gaps.all() and (kind, found) not in FITTING):
        kind = found
    if kind is str:
        return values.map(lambda v: v if isinstance(v, str) or v is None or v != v else str(v)).astype("str")
    if kind is float:
        return values.astype("float64")
    with_gaps, without_gaps = ("boolean", "bool") if kind is bool else ("Int64", "int64")
    return values.astype(with_gaps if gaps.any() else without_gaps)


@typing.no_type_check
def _kind_of_setting(column: str) -> type | None:
    """`bool`, `int`, `float` (a metric too) or, for text and lists, `str`; None for a method's options."""
    if column.startswith(METRIC):
        return float
    hints = typing.get_type_hints(TaskSettings)
    hint = hints.get(column.removeprefix("task.")) if column.startswith("task.") else None
    if hint is None:
        return None
    if isinstance(hint, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not types.NoneType)
    return hint if hint in (bool, int, float) else str


def _kind_of_values(values: list[Any]) -> type:
    kinds = {type(value) for value in values}
    if kinds == {bool}:
        return bool
    if kinds == {int}:
        return int
    return float if kinds and kinds <= {int, float} else str
