"""atlas.json: what the atlas of all methods set out to run, beside the studies that it is made of."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from study.errors import UsageError, first_line
from study.storage.files import write_atomically

NAME = "atlas.json"

MAKES = "python -m study.atlas"


@dataclass(frozen=True)
class PlannedMethod:
    """What one method was to do on one task.

    Attributes:
        runs: how many were planned.
        options: those that the sweep or the user gave it.
        saved_mb: what a training step of one run holds for its backward pass, in MB of 2^20 bytes; None if it
            was not measured.
        unpackable: why its runs train one by one; empty if they train in packs.
    """

    runs: int
    options: Mapping[str, Any] = field(default_factory=dict)
    saved_mb: float | None = None
    unpackable: str = ""


@dataclass(frozen=True)
class PlannedTask:
    """What was to run on one task.

    Attributes:
        methods: by name.
        excluded: methods that cannot be trained on the task, each with the reason.
        refused: why its study was not run, or not to its end; empty if it was.
    """

    methods: Mapping[str, PlannedMethod]
    excluded: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""


@dataclass(frozen=True)
class Atlas:
    """All tasks of an atlas, by the names of their studies' folders.

    Attributes:
        command: what was called last.
        known: every task that an atlas can have.
    """

    command: str
    known: tuple[str, ...]
    tasks: Mapping[str, PlannedTask]

    def write(self, folder: Path) -> None:
        """Leaves atlas.json in the atlas's folder, which is made where it is not there."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / NAME, json.dumps(dataclasses.asdict(self), indent=1).encode())


def read_atlas(folder: Path) -> Atlas:
    """atlas.json of an atlas's folder.

    Raises:
        UsageError: if it is missing or damaged.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        tasks = {name: _task(values) for name, values in content["tasks"].items()}
        return Atlas(content["command"], tuple(content["known"]), tasks)
    except FileNotFoundError:
        raise UsageError(f"{path} is missing; it is made by: {MAKES}") from None
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__} {first_line(error)}"
        raise UsageError(f"{path} cannot be read: {reason}; {MAKES} writes it anew") from None


def _task(values: dict[str, Any]) -> PlannedTask:
    methods = {name: PlannedMethod(**planned) for name, planned in values["methods"].items()}
    return PlannedTask(methods, values["excluded"], values["refused"])
