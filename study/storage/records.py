"""What runs leave behind: one file per pack, written once and whole, and the tables made of them.

    results/<name>/records/<pack_id>.json     sealed; a line of run_id -> status; the runs' records
    results/<name>/{runs,history,layers}.parquet and their sha256 in tables.sha256

Records are the only truth; the tables can be made anew from them at any time. A record file is never
overwritten: a run's first finished record wins, and a late writer is refused.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.errors import UsageError
from study.storage.files import from_json, sealed, set_aside, to_json, unseal, write_atomically
from study.storage.schema import RECORD_VERSION, TABLES

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
"""{"row": columns of RUNS and more, "history": rows of HISTORY, "layers": rows of LAYERS}."""

SUMS = "tables.sha256"
CHUNK = 1000
"""Records turned into tables at a time: bounds the memory that a large study needs."""


def path_of(folder: Path, pack_id: str) -> Path:
    return folder / "records" / f"{pack_id}.json"


def write(folder: Path, pack_id: str, records: list[Record]) -> bool:
    """Writes the records of a pack's runs; false if another writer's were there first.

    Raises:
        CannotWrite: if the disk is full or the folder cannot be written.
    """
    statuses = {record["row"]["run_id"]: record["row"]["status"] for record in records}
    head = to_json({"record_version": RECORD_VERSION, "statuses": statuses})
    content = sealed(head + b"\n" + to_json(records))
    return write_atomically(path_of(folder, pack_id), content, replace=False)


def _parts(path: Path) -> tuple[dict[str, str], bytes] | None:
    """Statuses by run_id, and the records as JSON; None if the file is damaged."""
    body = unseal(path)
    if body is None:
        return None
    head, _, rest = body.partition(b"\n")
    content = from_json(head)
    check_version(path, content["record_version"])
    if "records" in content:  # version 1
        rows = [record["row"] for record in content["records"]]
        return {row["run_id"]: row["status"] for row in rows}, to_json(content["records"])
    return content["statuses"], rest


def read(path: Path) -> list[Record] | None:
    """The records in one file; None if it is damaged.

    Raises:
        UsageError: if a newer version of this program wrote it.
    """
    parts = _parts(path)
    return None if parts is None else from_json(parts[1])


def read_statuses(folder: Path, pack_id: str) -> list[str]:
    """The statuses in one pack's file; none if there is no such file, or a damaged one."""
    path = path_of(folder, pack_id)
    parts = _parts(path) if path.exists() else None
    return list(parts[0].values()) if parts else []


def check_version(path: Path, version: int) -> None:
    if version > RECORD_VERSION:
        raise UsageError(
            f"{path} was written by a newer version (records {version}, this one knows "
            f"{RECORD_VERSION}); update, or give another name="
        )


def _index(folder: Path) -> dict[str, tuple[str, Path]]:
    """Every run's status, and the file whose record of it counts.

    Where a run stands in two files (its pack was cut anew), a finished record goes before a failed
    one, then the older file's. Damaged files are passed over.
    """
    found: dict[str, tuple[str, Path]] = {}
    for path in sorted((folder / "records").glob("*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
        parts = _parts(path)
        for run_id, status in (parts[0] if parts else {}).items():
            if run_id not in found or found[run_id][0] == "failed":
                found[run_id] = status, path
    return found


def statuses(folder: Path) -> dict[str, str]:
    """`ok`, `diverged` or `failed` of every run that has a record, by run_id."""
    return {run_id: status for run_id, (status, _) in _index(folder).items()}


def read_all(folder: Path) -> Iterator[Record]:
    """The record that counts of every run; holds one file's at a time in memory."""
    by_file: dict[Path, set[str]] = {}
    for run_id, (_, path) in _index(folder).items():
        by_file.setdefault(path, set()).add(run_id)
    for path, own in by_file.items():
        yield from (record for record in read(path) or [] if record["row"]["run_id"] in own)


def set_damaged_aside(folder: Path) -> None:
    """Renames damaged records, whose runs then count as missing, and damaged tables."""
    for path in sorted((folder / "records").glob("*.json")):
        if unseal(path) is None:
            set_aside(path, "Its runs are trained again.")
    for path in damaged_tables(folder):
        set_aside(path, "It is made anew from the records.")


def damaged_tables(folder: Path) -> list[Path]:
    """The tables that are not what `collect` wrote."""
    try:
        lines = (folder / SUMS).read_text().splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    known = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    paths = [folder / name for name in known if Path(name).name == name and (folder / name).exists()]
    return [path for path in paths if hashlib.sha256(path.read_bytes()).hexdigest() != known[path.name]]


def set_aside_failures(folder: Path) -> None:
    """Makes failed runs count as missing, so that they are trained again; finished ones stay."""
    for path in (folder / "records").glob("*.json"):
        parts = _parts(path)
        if parts and "failed" in parts[0].values():
            path.rename(path.with_suffix(".retried"))


def failed(columns: dict[str, Any], reason: str) -> Record:
    """The record of a run that could not be carried out."""
    return {"row": {**columns, "status": "failed", "reason": reason}, "history": [], "layers": []}


def tables(records: Iterable[Record]) -> dict[str, pd.DataFrame]:
    """The three tables, with the columns and types of the schema, in the order of the records."""
    records = list(records)
    rows = [record["row"] for record in records]
    named = {"runs": rows}
    for name in ("history", "layers"):
        named[name] = [{"run_id": r["row"]["run_id"], **point} for r in records for point in r[name]]
    return {name: _table(found, TABLES[name]) for name, found in named.items()}


def _table(rows: list[dict[str, Any]], schema: dict[str, tuple[str, str]]) -> pd.DataFrame:
    import pandas as pd

    more = sorted({column for row in rows for column in row} - set(schema))
    frame = pd.DataFrame(rows, columns=[*schema, *more])
    empty = {"string": "", "bool": False, "int64": 0, "float64": float("nan")}
    for column, (kind, _) in schema.items():
        if kind in empty:
            values = [
                empty[kind] if v is None or (v != v and kind != "float64") else v for v in frame[column]
            ]
            frame[column] = pd.Series(values, dtype="str" if kind == "string" else kind)
        else:
            frame[column] = frame[column].astype(kind)  # type: ignore[call-overload]
    for column in more:  # lists as text, so that parquet keeps one type per column
        frame[column] = [str(v) if isinstance(v, list | dict) else v for v in frame[column]]
    return frame


def collect(folder: Path, order: list[str]) -> dict[str, pd.DataFrame]:
    """Makes the tables anew from the records and writes them as parquet.

    Args:
        order: run_ids in the plan's order; runs beyond it come after, by run_id.

    Raises:
        CannotWrite: if the disk is full; the tables of before are intact.
    """
    import pandas as pd

    chunks = [tables(chunk) for chunk in _chunks(read_all(folder))] or [tables([])]
    place = {run_id: i for i, run_id in enumerate(order)}
    found = [run_id for chunk in chunks for run_id in chunk["runs"].run_id]
    ranked = sorted(found, key=lambda run_id: (place.get(run_id, len(place)), run_id))
    position = {run_id: i for i, run_id in enumerate(ranked)}
    made = {}
    for name, schema in TABLES.items():
        table = pd.concat([chunk.pop(name) for chunk in chunks], ignore_index=True)
        table = table[[*schema, *sorted(set(table.columns) - set(schema))]]
        order_of_rows = table.run_id.map(position).to_numpy().argsort(kind="stable")
        made[name] = table.iloc[order_of_rows].reset_index(drop=True)
    contents = {f"{name}.parquet": table.to_parquet(index=False) for name, table in made.items()}
    for name, content in contents.items():
        write_atomically(folder / name, content)
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()]
    write_atomically(folder / SUMS, "".join(sums).encode())
    return made


def _chunks(records: Iterator[Record]) -> Iterator[list[Record]]:
    while chunk := list(itertools.islice(records, CHUNK)):
        yield chunk
