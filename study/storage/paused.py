"""Runs that are paused at a rung, each in a file of its own: those that go on are packed anew.

    results/<name>/paused/<run_id>.checkpoint   the run's state, and the record that it leaves if it is pruned

Every file is whole or not there. It is gone once the run has a record.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from study.storage import state_file
from study.storage.rows import RunRecord
from study.storage.state_file import State

FOLDER = "paused"
INSTEAD = "The run is trained anew up to there."


def write(folder: Path, records: Sequence[RunRecord], states: Sequence[State]) -> None:
    """Keeps the runs of a pack.

    Args:
        records: each run's, with the status `pruned`.
        states: each run's, as if it had been a pack of one.

    Raises:
        CannotWrite: if the disk is full.
    """
    for record, (tensors, facts) in zip(records, states, strict=True):
        kept = (tensors, {"record": record.to_json(), "state": facts})
        state_file.write(path_of(folder, record.identity.run_id), kept)


def run_ids(folder: Path) -> set[str]:
    """Of the runs that are paused."""
    return {path.stem for path in (folder / FOLDER).glob("*.checkpoint")}


def record(folder: Path, run_id: str) -> RunRecord | None:
    """What a paused run leaves if it is pruned; None if it is not paused, or its file is damaged."""
    path = path_of(folder, run_id)
    facts = state_file.read_facts(path) if path.exists() else None
    return RunRecord.from_json(facts["record"]) if facts else None


def step(folder: Path, run_id: str) -> int:
    """Where a run is paused; 0 if it is not, or its file is damaged."""
    kept = record(folder, run_id)
    return kept.history[-1].step if kept else 0


def states(folder: Path, run_ids: Iterable[str]) -> list[State] | None:
    """The states of runs that all are paused at the same step; None if they are not."""
    found = []
    for run_id in run_ids:
        path = path_of(folder, run_id)
        kept = state_file.read(path, INSTEAD) if path.exists() else None
        if kept is None:
            return None
        found.append((kept[0], kept[1]["state"]))
    return found if len({facts["step"] for _, facts in found}) == 1 else None


def forget(folder: Path, finished: Collection[str]) -> None:
    """Removes what is kept of runs that have a record by now."""
    for run_id in run_ids(folder) & set(finished):
        path_of(folder, run_id).unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        (folder / FOLDER).rmdir()  # when it was the last


def path_of(folder: Path, run_id: str) -> Path:
    return folder / FOLDER / f"{run_id}.checkpoint"
