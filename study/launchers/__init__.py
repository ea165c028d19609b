"""Where jobs run. A *launcher* does jobs and gives back their answers; what a job does, only workers know.

A launcher is one file in this folder, one subclass of `Launcher`, and a YAML file under `sweeps/launcher/`
that sets `name` to the file's name. Its settings are `study.settings.LauncherSettings`; what it needs beyond
them goes into `additional_parameters`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import ClassVar

from study.errors import UsageError
from study.planning.jobs import Answer, Job
from study.settings import LauncherSettings


class Detached(Exception):
    """Everything is submitted and nobody waits for it."""


@dataclass(frozen=True)
class Capacity:
    """What there is to plan for.

    Attributes:
        workers: jobs that run at a time.
        threads: CPU threads of each.
        startup_s: seconds that a job takes before it trains.
    """

    workers: int
    threads: int
    startup_s: float = 0.0


@dataclass(frozen=True)
class JobState:
    """A job that its launcher has not ended yet. `where` names its place, as in `7_3 on node1, 1:30 left`."""

    running: bool
    where: str


@dataclass(frozen=True)
class Sighting:
    """What a launcher knows of a study's jobs at a moment, without the command that submitted them.

    Attributes:
        jobs: by their keys; empty where the launcher keeps nothing that could be asked.
        remarks: what a user should know beside them, a line each.
    """

    jobs: Mapping[str, JobState] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


class Session(ABC):
    """A launcher at work on one study, for as long as a `with` block lasts."""

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets go of what the session holds. After a KeyboardInterrupt, running jobs may save first."""

    @abstractmethod
    def do(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        """Does the jobs, the first ones first; yields each with its answer as soon as that is there.

        Every job gets exactly one answer: its worker's; `Died` if its worker ended before it answered and the
        job was given up; or `Lost` if nothing is known of it any more and the next call is to do it.

        Raises:
            UsageError: if the jobs are refused as a whole.
            Detached: if nobody is to wait for them.
        """


class Launcher(ABC):
    """One way to run jobs.

    Attributes:
        description: what messages call it: `this machine`, `the cluster`.
        can_detach: whether jobs outlive the command that submitted them.
    """

    description: ClassVar[str]
    can_detach: ClassVar[bool] = False

    def __init__(self, settings: LauncherSettings) -> None:
        self.settings = settings

    def validate(self) -> None:
        """Refuses settings that it cannot use, without looking further than at them.

        Raises:
            UsageError: naming the key and what would be right.
        """

    def check_reachable(self) -> None:
        """Refuses, before any work starts, what would be refused later.

        Raises:
            UsageError: if jobs cannot be run from here.
        """

    @abstractmethod
    def capacity(self, jobs: int) -> Capacity:
        """What there is for so many jobs at most."""

    @abstractmethod
    def cache_key(self, threads: int) -> list[str | int | list[str] | None]:
        """What decides how fast a job is here: profiles are kept by it."""

    @abstractmethod
    def open(self, folder: Path, jobs: int, detach: bool = False) -> Session:
        """Gets to work.

        Args:
            folder: the study's.
            jobs: how many there are at most.
            detach: submit and raise `Detached` instead of waiting.
        """

    def watch(self, folder: Path, unfinished: Collection[str]) -> Sighting:
        """What is known of the study's jobs from outside.

        Args:
            folder: the study's.
            unfinished: keys of the jobs whose records are not there.
        """
        return Sighting()


def names() -> list[str]:
    """Every name that can stand behind `name:` in a file under sweeps/launcher/."""
    return sorted(path.stem for path in Path(__file__).parent.glob("*.py") if path.stem != "__init__")


def load(settings: LauncherSettings) -> Launcher:
    """The launcher that the settings name: the one `Launcher` subclass in its file.

    Raises:
        UsageError: if there is none of that name.
    """
    if settings.name not in names():
        raise UsageError(f"launcher.name={settings.name} is not one of: {', '.join(names())}")
    module = importlib.import_module(f"{__name__}.{settings.name}")
    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Launcher) and value.__module__ == module.__name__
    ]
    launcher: Launcher = classes[0](settings)
    return launcher


def watch_all(settings: LauncherSettings, folder: Path, unfinished: Collection[str]) -> Sighting:
    """What any launcher knows of the study's jobs: it may have gone on elsewhere than it was begun."""
    sightings = [load(replace(settings, name=name)).watch(folder, unfinished) for name in names()]
    jobs = {key: state for sighting in sightings for key, state in sighting.jobs.items()}
    return Sighting(jobs, tuple(remark for sighting in sightings for remark in sighting.remarks))


def refuse_settings_of_others(settings: LauncherSettings, keys: Sequence[str], message: str) -> None:
    """Refuses settings that mean nothing here.

    Args:
        keys: fields of `LauncherSettings` that must be as they are by default: null or empty.
        message: what is wrong with a key, which stands for `{key}` in it.

    Raises:
        UsageError: naming the first that is set.
    """
    for key in keys:
        if getattr(settings, key) not in (None, [], {}):
            raise UsageError(message.format(key=f"launcher.{key}"))
