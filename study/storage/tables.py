"""The three tables of a study, rebuilt from its records.

results/<name>/{runs,history,layers}.parquet and their sha256 in tables.sha256
"""

from __future__ import annotations

import contextlib
import hashlib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.settings import TaskSettings
from study.storage import records
from study.storage.columns import Columns
from study.storage.files import quarantine, staged, write_atomically
from study.storage.records import Pack, RecordJson
from study.storage.rows import METRIC, SHARPNESS
from study.storage.schema import HISTORY, RUNS, TABLES, Schema

if TYPE_CHECKING:
    import pandas as pd

SUMS = "tables.sha256"
BATCH = 1000
"""Runs turned into tables at a time, at least: bounds the memory that a large study needs."""

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


def collect(folder: Path, order: list[str]) -> pd.DataFrame:
    """Rebuilds the tables from the records and writes them as parquet.

    Rows of `layers`, of which there are most, go to their file as they are read.

    Args:
        order: run_ids in the plan's order; runs beyond it come after, by run_id.

    Returns:
        The table of runs.

    Raises:
        CannotWrite: if the disk is full; the tables of before are intact.
    """
    import pandas as pd

    rank = {run_id: place for place, run_id in enumerate(order)}
    with contextlib.ExitStack() as stack:
        paths = {name: stack.enter_context(staged(folder / f"{name}.parquet")) for name in TABLES}
        empty = _untyped([])
        parts: dict[str, list[pd.DataFrame]] = {name: [empty[name]] for name in ("runs", "history")}
        with _Parquet(paths["layers"], empty["layers"]) as layers:
            for packs in _batches(folder, rank):
                batch = _in_order(_untyped(packs), rank)
                layers.append(batch.pop("layers"))
                for name, table in batch.items():
                    parts[name].append(table)
        further = sorted({column for part in parts["history"] for column in part} - set(HISTORY))
        with _Parquet(paths["history"], empty["history"].assign(**dict.fromkeys(further, 0.0))) as history:
            while parts["history"]:
                history.append(parts["history"].pop(0))
        runs = _with_typed_settings(pd.concat(parts.pop("runs"), ignore_index=True), RUNS)
        runs.to_parquet(paths["runs"], index=False)
        sums = [f"{_digest(path)}  {name}.parquet\n" for name, path in paths.items()]
    write_atomically(folder / SUMS, "".join(sums).encode())
    return runs


class _Parquet:
    """A file to which a table is written part by part.

    Args:
        like: a table with the columns and types of all.
    """

    def __init__(self, path: Path, like: pd.DataFrame) -> None:
        import pyarrow as pa
        from pyarrow.parquet import ParquetWriter

        self.schema = pa.Table.from_pandas(like, preserve_index=False).schema
        self.writer = ParquetWriter(path, self.schema)

    def append(self, rows: pd.DataFrame) -> None:
        import pyarrow as pa

        missing = set(self.schema.names) - set(rows.columns)
        rows = rows.assign(**dict.fromkeys(missing, float("nan")))
        self.writer.write_table(pa.Table.from_pandas(rows, self.schema, preserve_index=False))

    def __enter__(self) -> _Parquet:
        return self

    def __exit__(self, *_: object) -> None:
        self.writer.close()


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _batches(folder: Path, rank: Mapping[str, int]) -> Iterator[list[Pack]]:
    """All packs, a few at a time: every run of a batch comes before those of the next."""
    batch: list[Pack] = []
    rows, last = 0, (-1, "")
    for _, pack in records.read_packs(folder, rank):
        places = [records.place(rank, run_id) for run_id in pack.run_ids]
        if rows >= BATCH and places[0] > last:
            yield batch
            batch, rows = [], 0
        batch.append(pack)
        rows, last = rows + pack.runs.rows, max(last, places[-1])
    if batch:
        yield batch


def _in_order(tables: dict[str, pd.DataFrame], rank: Mapping[str, int]) -> dict[str, pd.DataFrame]:
    """Tables of a batch with the rows of their runs in order; a run's own rows stay as they are."""
    run_ids = tables["runs"].run_id.tolist()
    ranked = sorted(run_ids, key=lambda run_id: records.place(rank, run_id))
    if ranked == run_ids:
        return tables
    position = {run_id: place for place, run_id in enumerate(ranked)}
    return {
        name: table.iloc[table.run_id.map(position).to_numpy().argsort(kind="stable")]
        for name, table in tables.items()
    }


def tables(records_json: Iterable[RecordJson]) -> dict[str, pd.DataFrame]:
    """The three tables, with the columns and types of the schema, in the order of the records."""
    untyped = _untyped([Pack.of(list(records_json))])
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


def _untyped(packs: Sequence[Pack]) -> dict[str, pd.DataFrame]:
    """The tables, but for the types of the settings' columns, which one batch alone cannot tell."""
    import numpy as np

    made = {"runs": _untyped_table([pack.runs for pack in packs], RUNS)}
    for name in records.DETAILS:
        table = _untyped_table([pack.details[name] for pack in packs], TABLES[name])
        counts = [count for pack in packs for count in pack.counts[name]]
        table["run_id"] = made["runs"].run_id.take(np.repeat(np.arange(len(counts)), counts)).array
        made[name] = table
    return made


def _untyped_table(parts: Sequence[Columns], schema: Schema) -> pd.DataFrame:
    """The rows of all parts."""
    import pandas as pd

    def column(name: str) -> list[Any]:
        return [value for part in parts for value in part.column(name)]

    columns = {}
    for name, (kind, _) in schema.items():
        values = column(name)
        if kind in EMPTY and kind != "float64":  # of which None becomes nan
            values = [EMPTY[kind] if value is None or value != value else value for value in values]
        columns[name] = pd.Series(values, dtype="str" if kind == "string" else kind)
    for name in sorted({name for part in parts for name in part.values} - set(schema)):
        columns[name] = pd.Series(column(name), dtype=object)
    return pd.DataFrame(columns, index=range(sum(part.rows for part in parts)))


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
    """`bool`, `int`, `float` (metrics and sharpness too) or, for text and lists, `str`; None for a method's
    options."""
    if column.startswith(METRIC) or column in SHARPNESS:
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
