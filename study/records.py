"""What runs leave behind: one file per pack, written once and whole, and the tables made of them.

    results/<name>/records/<pack_id>.json     first line: sha256 of the rest; then the runs' records
    results/<name>/{runs,history,layers}.parquet

Records are the only truth; the tables can be made anew from them at any time. A record file is never
overwritten: a run's first finished record wins, and a late writer is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.errors import UsageError
from study.schema import HISTORY, LAYERS, RECORD_VERSION, RUNS

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
"""{"row": columns of RUNS and more, "history": rows of HISTORY, "layers": rows of LAYERS}."""


def write_atomically(path: Path, content: bytes, replace: bool = True) -> bool:
    """Writes a file that is there whole or not at all, even after kill -9 or on a full disk.

    Returns:
        False if `replace` is false and the file was already there; it is then left alone.

    Raises:
        OSError: if it cannot be written; what was there before is intact.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            temporary.replace(path)
            return True
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        return True
    finally:
        temporary.unlink(missing_ok=True)


def write(folder: Path, pack_id: str, records: list[Record]) -> bool:
    """Writes the records of a pack's runs; false if another writer's were there first."""
    body = json.dumps({"record_version": RECORD_VERSION, "records": records}).encode()
    content = hashlib.sha256(body).hexdigest().encode() + b"\n" + body
    return write_atomically(folder / "records" / f"{pack_id}.json", content, replace=False)


def read(path: Path) -> list[Record] | None:
    """The records in one file; None if it is damaged.

    Raises:
        UsageError: if a newer version of this program wrote it.
    """
    digest, _, body = path.read_bytes().partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        return None
    content = json.loads(body)
    check_version(path, content["record_version"])
    return content["records"]


def check_version(path: Path, version: int) -> None:
    if version > RECORD_VERSION:
        raise UsageError(
            f"{path} was written by a newer version (records {version}, this one knows "
            f"{RECORD_VERSION}); update, or give another name="
        )


def read_all(folder: Path) -> dict[str, Record]:
    """Every run's record by run_id. A damaged file is set aside and its runs count as missing.

    Where a run stands in two files (its pack was cut anew), a finished record goes before a failed
    one, then the older file's.
    """
    found: dict[str, Record] = {}
    files = sorted((folder / "records").glob("*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name))
    for path in files:
        records = read(path)
        if records is None:
            path.rename(path.with_suffix(".damaged"))
            continue
        for record in records:
            run_id = record["row"]["run_id"]
            if run_id not in found or found[run_id]["row"]["status"] == "failed":
                found[run_id] = record
    return found


def set_aside_failures(folder: Path) -> None:
    """Makes failed runs count as missing, so that they are trained again; finished ones stay."""
    for path in (folder / "records").glob("*.json"):
        if any(record["row"]["status"] == "failed" for record in read(path) or []):
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
    schemas = {"runs": RUNS, "history": HISTORY, "layers": LAYERS}
    return {name: _table(found, schemas[name]) for name, found in named.items()}


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
    """
    found = read_all(folder)
    place = {run_id: i for i, run_id in enumerate(order)}
    ordered = sorted(found, key=lambda run_id: (place.get(run_id, len(place)), run_id))
    made = tables(found[run_id] for run_id in ordered)
    for name, table in made.items():
        write_atomically(folder / f"{name}.parquet", table.to_parquet(index=False))
    return made
