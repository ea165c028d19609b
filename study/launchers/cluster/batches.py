"""Batches of array tasks: which job is which task, and what it answered, in files.

    results/<name>/slurm/<batch>/batch.json       the jobs' keys, task by task; written before sbatch
    results/<name>/slurm/<batch>/answers/<i>.json what task i answered

A batch is found again in the queue by its name, so a coordinator that was killed at any moment attaches
to what is running.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.planning.jobs import (
    Answer,
    CannotStore,
    Fetched,
    Probed,
    Refused,
    Trained,
    answer_from_json,
    answer_to_json,
)
from study.planning.profile import Profile
from study.storage.files import from_json, to_json, write_atomically


@dataclass(frozen=True)
class ArrayTask:
    """Which task a job is: of which batch, and its index in the array."""

    batch: str
    index: int


def batch_name(batch: str) -> str:
    """The name of a batch's job in Slurm."""
    return f"ether-study-{batch}"


def keys_by_batch(study: Path) -> dict[str, list[str]]:
    """Of every batch that was submitted for a study, the keys of its jobs in their order."""
    paths = (study / "slurm").glob("*/batch.json")
    return {path.parent.name: from_json(path.read_bytes()) for path in paths}


class Batches:
    """The batches of one study.

    Args:
        folder: `results/<name>/slurm`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def new(self, keys: Sequence[str]) -> str:
        """Makes the folder of a batch of jobs with these keys; returns the batch's id."""
        batch = secrets.token_hex(4)
        (self.folder / batch / "answers").mkdir(parents=True, mode=0o700)
        write_atomically(self.folder / batch / "batch.json", to_json(list(keys)))
        return batch

    def drop(self, batch: str) -> None:
        """Forgets a batch that was never submitted."""
        shutil.rmtree(self.folder / batch, ignore_errors=True)

    def answer_file(self, task: ArrayTask) -> Path:
        return self.folder / task.batch / "answers" / f"{task.index}.json"

    def answer(self, task: ArrayTask) -> Answer | None:
        """What the task answered; None if it has not yet."""
        path = self.answer_file(task)
        return read_answer(path) if path.exists() else None

    def answered(self, batches: Iterable[str]) -> Iterator[ArrayTask]:
        """The tasks of these batches that have answered."""
        for batch in batches:
            for entry in os.scandir(self.folder / batch / "answers"):
                if entry.name.endswith(".json"):
                    yield ArrayTask(batch, int(entry.name.removesuffix(".json")))


def write_answer(path: Path, answer: Answer) -> None:
    write_atomically(path, to_json(answer_to_json(answer)))


def read_answer(path: Path) -> Answer:
    """An answer's file, also one that a task wrote which was submitted before answers had a kind."""
    content: Mapping[str, Any] = from_json(path.read_bytes())
    match content:
        case {"kind": _}:
            return answer_from_json(content)
        case {"statuses": statuses}:
            return Trained(tuple(statuses))
        case {"profile": profile}:
            return Probed(Profile.from_json(profile))
        case {"refused": reason}:
            return Refused(reason)
        case {"error": reason}:
            return CannotStore(reason)
    return Fetched()
