"""trials.json: the trials of a study that draws its runs from a space, wave by wave.

A wave is written before it is trained, and never changes after that. Results are in the records alone.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from study.errors import UsageError
from study.storage.files import write_atomically

FILE = "trials.json"
VERSION = 2


class DamagedTrials(UsageError):
    """trials.json is not what was written."""


@dataclass(frozen=True)
class Trial:
    """A point of a space.

    Attributes:
        values: of the hyperparameters that the space varies, by key.
        run_ids: of its runs, one per seed.
        wave: which it was asked for in, from 0.
    """

    values: Mapping[str, Any]
    run_ids: tuple[str, ...]
    wave: int


@dataclass(frozen=True)
class MethodTrials:
    """The trials of one method, in the order in which they were asked for.

    Attributes:
        space: range or choices by key.
        refused: combinations of options that the method cannot take, and why, in one line each.
    """

    space: Mapping[str, Any]
    refused: tuple[tuple[Mapping[str, Any], str], ...] = ()
    trials: tuple[Trial, ...] = ()

    @property
    def waves(self) -> int:
        return self.trials[-1].wave + 1 if self.trials else 0


@dataclass(frozen=True)
class SpaceTrials:
    """What trials.json holds: how trials are drawn and pruned, and those that were drawn, by method."""

    sampler: str
    seed: int
    wave: int
    methods: Mapping[str, MethodTrials]
    pruner: str = "none"
    reduction: int = 0
    rungs: int = 0


def read(folder: Path) -> SpaceTrials | None:
    """The trials of the study in `folder`; None if it draws from no space.

    Raises:
        DamagedTrials: if they cannot be read.
        UsageError: if a newer version wrote them.
    """
    path = folder / FILE
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] > VERSION:
            raise UsageError(f"{path} was written by a newer version; update the code")
        methods = {
            method: MethodTrials(
                of["space"],
                tuple((options, reason) for options, reason in of["refused"]),
                tuple(Trial(each["values"], tuple(each["run_ids"]), each["wave"]) for each in of["trials"]),
            )
            for method, of in content["methods"].items()
        }
        pruning = {key: content[key] for key in ("pruner", "reduction", "rungs") if key in content}  # since 2
        return SpaceTrials(content["sampler"], content["seed"], content["wave"], methods, **pruning)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise DamagedTrials(f"{path} is damaged; the sweep's command draws the same trials again") from None


def write(folder: Path, trials: SpaceTrials) -> None:
    """Raises CannotWrite if the disk is full."""
    content = {"version": VERSION} | dataclasses.asdict(trials)
    write_atomically(folder / FILE, json.dumps(content, indent=1, allow_nan=False).encode())
