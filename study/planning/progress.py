"""How far the packs of a study have come, and how long the rest takes: what was planned, put right by what
is measured."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from study.planning.costs import makespan

PRIOR_S = 5.0
"""So many seconds of training as planned are taken for granted: the first steps of all say little."""


@dataclass(frozen=True)
class PackProgress:
    """How far a pack in training has come; its worker writes it, others read it.

    Attributes:
        runs: how many train together.
        step, steps: optimizer steps, done and in all.
        seconds: of training and evaluating so far.
        diverged: runs that have diverged so far.
        metric: the primary one.
        best: of it on validation, over all runs and evaluation points; nan before there is any.
    """

    runs: int
    step: int
    steps: int
    seconds: float
    diverged: int = 0
    metric: str = ""
    best: float = math.nan

    @property
    def share(self) -> float:
        """Of the steps, how much is done."""
        return self.step / self.steps if self.steps else 0.0


@dataclass(frozen=True)
class PackLeft:
    """A pack that has no records yet.

    Attributes:
        seconds: that it was planned to take.
        progress: None while it waits or loads.
        where: its place, as the launcher names it.
    """

    title: str
    runs: int
    steps: int
    seconds: float
    progress: PackProgress | None = None
    where: str = ""


@dataclass(frozen=True)
class Outlook:
    """How a study stands and what is left of it.

    Attributes:
        planned: runs.
        statuses: how many runs ended `ok`, `diverged` or `failed`.
        lost: runs whose job left no result.
        run_steps, run_steps_planned: runs times steps, done and in all.
        seconds_left: estimated.
        running: packs that train now.
    """

    planned: int
    statuses: Mapping[str, int]
    lost: int
    run_steps: int
    run_steps_planned: int
    seconds_left: float
    running: Sequence[PackLeft] = ()

    @property
    def ended(self) -> int:
        return sum(self.statuses.values())

    @property
    def diverged(self) -> int:
        """Runs that have, of those that ended and of those in training."""
        return self.statuses.get("diverged", 0) + sum(p.progress.diverged for p in self.running if p.progress)


@dataclass
class Pace:
    """Seconds that packs have taken, beside those that they were planned to take for as much."""

    planned: float = PRIOR_S
    taken: float = PRIOR_S

    def add(self, pack: PackLeft) -> None:
        """Takes note of how far a pack came."""
        if pack.progress and pack.seconds:
            self.planned += pack.seconds * pack.progress.share
            self.taken += pack.progress.seconds

    @property
    def slowness(self) -> float:
        """Seconds for each that was planned."""
        return self.taken / self.planned


def seconds_left(packs: Sequence[PackLeft], workers: int, ended: Pace | None = None) -> float:
    """Until all packs are done: what is planned of each, less what it has done, at the pace measured so far.

    Args:
        ended: the pace of packs that are done.
    """
    pace = Pace(ended.planned, ended.taken) if ended else Pace()
    for pack in packs:
        pace.add(pack)
    costs = [p.seconds * (1 - (p.progress.share if p.progress else 0.0)) * pace.slowness for p in packs]
    return makespan(costs, max(1, workers))


@dataclass
class Tally:
    """What is counted while packs end.

    Attributes:
        planned: runs.
        run_steps, run_steps_planned: runs times steps, done and in all.
        statuses: how many ended how.
        lost: runs whose job left no result.
        pace: of the packs that are done.
    """

    planned: int
    run_steps_planned: int
    run_steps: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    lost: int = 0
    pace: Pace = field(default_factory=Pace)

    def end(self, pack: PackLeft, statuses: Collection[str]) -> None:
        """Takes note of a pack that is done."""
        self.statuses.update(statuses)
        self.run_steps += pack.runs * pack.steps
        self.pace.add(pack)

    def outlook(self, left: Sequence[PackLeft], workers: int) -> Outlook:
        """How the study stands with these packs left."""
        running = [pack for pack in left if pack.progress]
        under_way = sum(p.runs * p.progress.step for p in running if p.progress)
        return Outlook(
            planned=self.planned,
            statuses=dict(self.statuses),
            lost=self.lost,
            run_steps=self.run_steps + under_way,
            run_steps_planned=self.run_steps_planned,
            seconds_left=seconds_left(left, workers, self.pace),
            running=running,
        )
