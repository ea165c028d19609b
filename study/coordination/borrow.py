"""Runs that other studies have finished already are not trained again: their records are taken over."""

from __future__ import annotations

from pathlib import Path

from study.planning.runs import digest
from study.storage import records
from study.storage.rows import RunRecord


def borrow_records(folder: Path, results: Path, run_ids: set[str]) -> None:
    """Copies records of these runs that ended without failure into a study's folder, where it lacks them.

    Args:
        folder: the study's folder, locked.
        results: the folder whose studies are searched, at any depth.
    """
    missing = run_ids - records.statuses(folder).keys()
    for other in sorted({path.parent for path in results.rglob("records")} - {folder}):
        borrowed = [
            RunRecord.from_json(record)
            for record in records.read_all(other)
            if record["row"]["run_id"] in missing and record["row"]["status"] != "failed"
        ]
        if borrowed:
            borrowed_ids = [record.identity.run_id for record in borrowed]
            records.write(folder, f"from-{digest([str(other), borrowed_ids])}", borrowed)
            missing -= set(borrowed_ids)
            print(f"{len(borrowed_ids)} runs are there already, in {other}", flush=True)
