"""What is measured of the runs of a pack on the way, and what each of them leaves in the end."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from study.storage.rows import HistoryRow, LayerRow, Outcome
from study.storage.state_file import State
from study.tasks import Task
from study.training.passes import Scores

DIVERGED_LOSS = 1.05
"""A run whose validation loss ends above this many times the one at step 0, and whose score is no better than
then, has diverged. A higher loss with a better score is no divergence: a model that has learnt one subject is
a worse model of all pictures."""


@dataclass(frozen=True)
class Measurement:
    """Every run at one evaluation point: a row of its history, and its layers."""

    points: Sequence[HistoryRow]
    layers: Sequence[Sequence[LayerRow]]


class Measurements:
    """All measurements of a pack so far: the runs' histories, and their layers at the last point."""

    def __init__(self, runs: int) -> None:
        self.histories: list[list[HistoryRow]] = [[] for _ in range(runs)]
        self.layers: list[Sequence[LayerRow]] = [[] for _ in range(runs)]

    def add(self, measurement: Measurement) -> None:
        for history, point in zip(self.histories, measurement.points, strict=True):
            history.append(point)
        self.layers = list(measurement.layers)

    def best(self, higher_is_better: bool) -> float:
        """The best validation score of any run at any point; nan before the first."""
        scores = [
            point.valid for history in self.histories for point in history if math.isfinite(point.valid)
        ]
        return (max if higher_is_better else min)(scores, default=math.nan)

    def to_json(self) -> dict[str, Any]:
        """The form in a checkpoint."""
        return {
            "histories": [[vars(point) for point in history] for history in self.histories],
            "layers": [[vars(row) for row in rows] for rows in self.layers],
        }

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Measurements:
        measurements = cls(len(content["histories"]))
        measurements.histories = [[HistoryRow(**point) for point in h] for h in content["histories"]]
        measurements.layers = [[LayerRow(**row) for row in rows] for rows in content["layers"]]
        return measurements


@dataclass(frozen=True)
class Effort:
    """What training took, the same for each run of a pack; see the columns of `Outcome`."""

    steps: int
    parameters: int
    seconds: float
    step_seconds: float
    pack_size: int


@dataclass(frozen=True)
class TrainedRun:
    """What training leaves of one run.

    Attributes:
        pictures: what it keeps to be looked at: see `Task.pictures`.
    """

    outcome: Outcome
    history: tuple[HistoryRow, ...]
    layers: tuple[LayerRow, ...]
    pictures: Mapping[str, Tensor]


@dataclass(frozen=True)
class PausedRun:
    """A run at a rung: what it leaves if it is pruned there, and the state that it goes on from if not."""

    pruned: TrainedRun
    state: State


def outcome_of(
    task: Task,
    base_scores: Mapping[str, Scores],
    history: Sequence[HistoryRow],
    test: Scores | None,
    diverged: tuple[int, str] | None,
    effort: Effort,
) -> Outcome:
    """How a run ended, or how it stands if it is pruned here.

    Args:
        base_scores: of the untouched base model per split, on this run's rows.
        history: the run's; the last point is that of the trained run.
        test: the trained run on the test split; None if it is pruned, which leaves it without a test score.
        diverged: the step and the reason, if training has found that it diverged.
    """
    first, end = history[0].valid_loss, history[-1]
    last = end.valid_loss
    better = end.valid > history[0].valid if task.higher_is_better else end.valid < history[0].valid
    if diverged is None and test and not (last <= DIVERGED_LOSS * first or (math.isfinite(last) and better)):
        diverged = (effort.steps, f"validation loss {last:.4g} at the end, {first:.4g} at step 0")
    step, reason = diverged or (None, "")
    further: Mapping[str, float] = {}
    test_score = math.nan
    if test:
        further = test.further | task.against_untouched(test.further, base_scores["test"].further)
        test_score = test.primary if math.isfinite(test.primary) else task.chance
    return Outcome(
        status="pruned" if test is None else "diverged" if diverged else "ok",
        reason=reason,
        diverged_at=step,
        metric=task.metric,
        higher_is_better=task.higher_is_better,
        chance=task.chance,
        base_valid=base_scores["valid"].primary,
        base_test=base_scores["test"].primary,
        valid=end.valid if math.isfinite(end.valid) else task.chance,
        test=test_score,
        loss_first=first if math.isfinite(first) else math.nan,
        loss_last=last if math.isfinite(last) else math.nan,
        steps=effort.steps,
        parameters=effort.parameters,
        transform_distance=end.transform_distance,
        weight_distance=end.weight_distance,
        he_change=end.he_change,
        parameter_growth=end.parameter_growth,
        seconds=effort.seconds,
        step_seconds=effort.step_seconds,
        pack_size=effort.pack_size,
        further=further,
        lower_is_better=tuple(name for name in further if name in task.lower_is_better),
        trade_off=tuple(task.trade_off),
    )
