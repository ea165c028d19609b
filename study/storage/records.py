"""What runs leave behind: one file per pack, written once, there whole or not at all.

    results/<name>/records/<pack_id>.json     sealed; a line of run_id -> status; the runs' records by column

Records are the only truth; all else can be rebuilt from them at any time. A record file is never overwritten:
a run's first finished record wins, and a late writer is refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.errors import UsageError
from study.storage.columns import Columns
from study.storage.files import from_json, quarantine, sealed, to_json, unseal, write_atomically
from study.storage.rows import RECORD_VERSION, RunRecord

RecordJson = dict[str, Any]
"""A `RunRecord` in plain parts: {"row": ..., "history": [...], "layers": [...]}."""

DETAILS = ("history", "layers")
"""The tables of which a run has several rows."""


@dataclass(frozen=True)
class Pack:
    """The records of the runs that were trained together, by column.

    Not turned into `RunRecord`s on the way to tables: of 100,000 runs there are millions of rows.

    Attributes:
        runs: a row per run.
        details: the other tables, by name: all rows of the first run, then those of the second, ...
        counts: how many rows each run has in them.
    """

    runs: Columns
    details: Mapping[str, Columns]
    counts: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, records: Sequence[RecordJson]) -> Pack:
        return cls(
            Columns.of_rows([record["row"] for record in records]),
            {name: Columns.of_rows([row for record in records for row in record[name]]) for name in DETAILS},
            {name: [len(record[name]) for record in records] for name in DETAILS},
        )

    @property
    def run_ids(self) -> list[str]:
        return self.runs.column("run_id")

    def records(self) -> list[RecordJson]:
        """What it was made of."""
        rows = {name: iter(table.to_rows()) for name, table in self.details.items()}
        return [
            {"row": row}
            | {name: [next(rows[name]) for _ in range(self.counts[name][place])] for name in DETAILS}
            for place, row in enumerate(self.runs.to_rows())
        ]

    def chosen(self, places: Sequence[int]) -> Pack:
        """The runs at these places, in this order."""
        details = {}
        for name, table in self.details.items():
            ends = list(itertools.accumulate(self.counts[name]))
            rows = [
                row for place in places for row in range(ends[place] - self.counts[name][place], ends[place])
            ]
            details[name] = table.chosen(rows)
        counts = {name: [of_runs[place] for place in places] for name, of_runs in self.counts.items()}
        return Pack(self.runs.chosen(places), details, counts)

    def to_json(self) -> dict[str, Any]:
        tables = {"runs": self.runs, **self.details}
        return {name: table.to_json() for name, table in tables.items()} | {"counts": self.counts}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Pack:
        tables = {name: Columns.from_json(content[name]) for name in ("runs", *DETAILS)}
        return cls(tables.pop("runs"), tables, content["counts"])


def path_of(folder: Path, pack_id: str) -> Path:
    return folder / "records" / f"{pack_id}.json"


def write(folder: Path, pack_id: str, records: Sequence[RunRecord]) -> bool:
    """Writes the records of a pack's runs; false if another writer's were there first.

    Raises:
        CannotWrite: if the disk is full or the folder cannot be written.
    """
    statuses = {record.identity.run_id: record.outcome.status for record in records}
    head = to_json({"record_version": RECORD_VERSION, "statuses": statuses})
    pack = Pack.of([record.to_json() for record in records])
    content = sealed(head + b"\n" + to_json(pack.to_json()))
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


def read(path: Path) -> Pack | None:
    """The records in one file; None if it is damaged.

    Raises:
        UsageError: if a newer version of this program wrote it.
    """
    parts = _parts(path)
    if parts is None:
        return None
    content = from_json(parts[1])
    return Pack.of(content) if isinstance(content, list) else Pack.from_json(content)  # a list before 5


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
    """`ok`, `diverged`, `failed` or `pruned` of every run that has a record, by run_id."""
    return {run_id: status for run_id, (status, _) in _index(folder).items()}


def read_packs(folder: Path, order: Mapping[str, int] | None = None) -> Iterator[tuple[Path, Pack]]:
    """Every file with the records in it that count; holds one file's at a time in memory.

    Args:
        order: places of run_ids. Each file's runs come in their order, and so do files, by their first.
    """
    run_ids_of: dict[Path, list[str]] = {}
    for run_id, (_, path) in _index(folder).items():
        run_ids_of.setdefault(path, []).append(run_id)
    paths = list(run_ids_of)
    if order is not None:
        firsts = {path: min(place(order, run_id) for run_id in ids) for path, ids in run_ids_of.items()}
        paths.sort(key=firsts.__getitem__)
    for path in paths:
        pack = read(path)
        if pack is None:
            continue
        run_ids, counting = pack.run_ids, set(run_ids_of[path])
        chosen = [at for at, run_id in enumerate(run_ids) if run_id in counting]
        if order is not None:
            chosen.sort(key=lambda at: place(order, run_ids[at]))
        yield path, pack if chosen == list(range(pack.runs.rows)) else pack.chosen(chosen)


def place(order: Mapping[str, int], run_id: str) -> tuple[int, str]:
    """What runs are sorted by: those beyond the order come last, by run_id."""
    return order.get(run_id, len(order)), run_id


def read_all(folder: Path) -> Iterator[RecordJson]:
    """The record that counts of every run."""
    for _, pack in read_packs(folder):
        yield from pack.records()


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
