"""Runs that other studies have finished already are not trained again: their records are taken over."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from study.coordination.same_origin import changed_versions
from study.planning.origin import Origin
from study.planning.runs import digest
from study.storage import pictures, records
from study.storage.rows import FINISHED, RunRecord


def borrowable(
    folder: Path, results: Path, origins: Mapping[str, Origin], mixed_versions: bool
) -> dict[Path, list[RunRecord]]:
    """Records of runs that were trained to their end elsewhere and that a study lacks, by their folder.

    What was made of other data, another model or other versions stays where it is, and that is said.

    Args:
        folder: the study's.
        results: the folder whose studies are searched, at any depth.
        origins: what each run would be made of now, by run_id.
    """
    missing = origins.keys() - records.statuses(folder).keys()
    found: dict[Path, list[RunRecord]] = {}
    for other in sorted({path.parent for path in results.rglob("records")} - {folder}):
        finished = [
            RunRecord.from_json(record)
            for record in records.read_all(other)
            if record["row"]["run_id"] in missing and record["row"]["status"] in FINISHED
        ]
        fitting = [each for each in finished if _fits(each, origins[each.identity.run_id], mixed_versions)]
        if len(fitting) < len(finished):
            left = len(finished) - len(fitting)
            print(f"{left} runs in {other} are not taken over: of other data, model or versions")
        if fitting:
            found[other] = fitting
            missing -= {record.identity.run_id for record in fitting}
    return found


def _fits(record: RunRecord, now: Origin, mixed_versions: bool) -> bool:
    then = Origin.of_row(record.row())
    return not now.changed(then) and (mixed_versions or not changed_versions(then, now))


def borrow(folder: Path, found: Mapping[Path, list[RunRecord]]) -> None:
    """Copies what `borrowable` found into the study's folder, which is locked: pictures first, then records.

    Raises:
        UsageError: if a run's pictures are gone or damaged.
    """
    for other, borrowed in found.items():
        borrowed_ids = [record.identity.run_id for record in borrowed]
        for record in borrowed:
            if record.pictures:
                pictures.copy(other, folder, record.identity.run_id, record.pictures)
        records.write(folder, f"from-{digest([str(other), borrowed_ids])}", borrowed)
        print(f"{len(borrowed_ids)} runs are there already, in {other}", flush=True)
