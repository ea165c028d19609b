"""What runs leave behind: one file per pack, written once, there whole or not at all.

    results/<name>/records/<pack_id>.json     sealed; a line of run_id -> status; the runs' records

Records are the only truth; all else can be rebuilt from them at any time. A record file is never overwritten:
a run's first finished record wins, and a late writer is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from study.errors import UsageError
from study.storage.files import from_json, quarantine, sealed, to_json, unseal, write_atomically
from study.storage.rows import RECORD_VERSION, RunRecord

RecordJson = dict[str, Any]
"""A `RunRecord` as it stands in a file: {"row": ..., "history": [...], "layers": [...]}.

Not turned into `RunRecord`s on the way to tables: of 100,000 runs there are millions of rows.
"""


def path_of(folder: Path, pack_id: str) -> Path:
    return folder / "records" / f"{pack_id}.json"


def write(folder: Path, pack_id: str, records: Sequence[RunRecord]) -> bool:
    """Writes the records of a pack's runs; false if another writer's were there first.

    Raises:
        CannotWrite: if the disk is full or the folder cannot be written.
    """
    statuses = {record.identity.run_id: record.outcome.status for record in records}
    head = to_json({"record_version": RECORD_VERSION, "statuses": statuses})
    content = sealed(head + b"\n" + to_json([record.to_json() for record in records]))
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


def read(path: Path) -> list[RecordJson] | None:
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
    index: dict[str, tuple[str, Path]] = {}
    for path in sorted((folder / "records").glob("*.json"), key=lambda p: (p.stat().st_mtime_ns, p.name)):
        parts = _parts(path)
        for run_id, status in (parts[0] if parts else {}).items():
            if run_id not in index or index[run_id][0] == "failed":
                index[run_id] = status, path
    return index


def statuses(folder: Path) -> dict[str, str]:
    """`ok`, `diverged` or `failed` of every run that has a record, by run_id."""
    return {run_id: status for run_id, (status, _) in _index(folder).items()}


def read_files(folder: Path) -> Iterator[tuple[Path, list[RecordJson]]]:
    """Every file with the records in it that count; holds one file's at a time in memory."""
    by_file: dict[Path, set[str]] = {}
    for run_id, (_, path) in _index(folder).items():
        by_file.setdefault(path, set()).add(run_id)
    for path, run_ids in by_file.items():
        yield path, [record for record in read(path) or [] if record["row"]["run_id"] in run_ids]


def read_all(folder: Path) -> Iterator[RecordJson]:
    """The record that counts of every run."""
    for _, records in read_files(folder):
        yield from records


def quarantine_damaged(folder: Path) -> None:
    """Renames damaged record files, whose runs then count as missing."""
    for path in sorted((folder / "records").glob("*.json")):
        if unseal(path) is None:
            quarantine(path, "Its runs are trained again.")


def forget_failures(folder: Path) -> None:
    """Makes failed runs count as missing, so that they are trained again; finished ones stay."""
    for path in (folder / "records").glob("*.json"):
        parts = _parts(path)
        if parts and "failed" in parts[0].values():
            path.rename(path.with_suffix(".retried"))
