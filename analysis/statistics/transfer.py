"""Learning rates that travel: what is lost on a task by a rate that was tuned on another, or on all others.

Scores of several tasks are put on one scale first: the share of what can be gained there, from 0, a guess,
to 1, the best method's tuned test score. A *regret* is how much less of it a method has than at the rate
tuned on the task itself, as everywhere by mean validation score. Measured on test, it can be negative.

    matrix: regret on task B of the rate tuned on task A; zero on the diagonal.
    left out: regret on B of one rate for all tasks, the best by the mean validation score of all but B.
    gap: how far below the best method's tuned score the method's is; of it the performance profiles are made,
        the share of tasks with a gap of at most so much (Dolan and Moré 2002; AlgoPerf, Dahl et al. 2023).

Every figure is recomputed for each resample of the seeds (`analysis.statistics.bootstrap`), tuning and the
scale included; tasks are not resampled, so intervals are about these tasks, not about others.

Only methods that learn take part (`analysis.statistics.learning`), on the tasks where all of them do, for
what is averaged over different tasks does not compare.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.data.scores import direction, scores
from analysis.statistics.bootstrap import Resampled, percentile_interval, resample
from analysis.statistics.curves import GRID_TOLERANCE, Array, at
from analysis.statistics.learning import why_not_learning
from study.storage.tuned import tuned_index

FEWEST = 2
"""Tasks that a rate can travel between."""


@dataclass(frozen=True)
class Travel:
    """How one method's rates travel between T tasks; arrays have the data in row 0 and B resamples below.

    lrs: (T,) the rates tuned on each task. rates: (T,) the rates chosen without it.
    matrix: (1 + B, T, T) regrets, [.., a, b] on b of the rate tuned on a; nan where b was not run at it.
    left_out: (1 + B, T) regrets of the one rate chosen on the other tasks.
    gap, left_out_gap: (1 + B, T) behind the best method, at the rate tuned on the task and at that one.
    """

    lrs: Array
    rates: Array
    matrix: Array
    left_out: Array
    gap: Array
    left_out_gap: Array

    @property
    def mean_regret(self) -> Array:
        """(1 + B,) over all pairs of different tasks."""
        of_others = self.matrix[:, ~np.eye(self.matrix.shape[-1], dtype=bool)]
        with np.errstate(invalid="ignore"):
            mean: Array = np.nansum(of_others, axis=-1) / np.isfinite(of_others).sum(-1)
        return mean

    @property
    def mean_left_out(self) -> Array:
        """(1 + B,) over all tasks."""
        mean: Array = self.left_out.mean(-1)
        return mean


@dataclass(frozen=True)
class Transfer:
    """Every method's rates on the tasks they share.

    tasks: their titles. by_label: of the labels that take part.
    not_taking_part: a label that learns on fewer than two tasks -> nothing; title of a task -> the labels
        that do not learn there, or were not run.
    """

    tasks: list[str]
    by_label: dict[str, Travel]
    not_taking_part: dict[str, list[str]] = field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """A row per label: mean regrets with 95 % intervals, the worst pair, the rates chosen without one."""
        rows = []
        for label, travel in self.by_label.items():
            row: dict[str, object] = {"label": label, "tasks": len(self.tasks)}
            for name, values in (("regret", travel.mean_regret), ("left_out", travel.mean_left_out)):
                row |= dict(
                    zip((name, f"{name}_low", f"{name}_high"), percentile_interval(values), strict=True)
                )
            a, b = np.unravel_index(np.nanargmax(travel.matrix[0]), travel.matrix[0].shape)
            row |= {"worst": travel.matrix[0, a, b], "worst_from": self.tasks[a], "worst_on": self.tasks[b]}
            row |= {"lowest_rate": travel.rates.min(), "highest_rate": travel.rates.max()}
            rows.append(row)
        return pd.DataFrame(rows)


def transfer(studies: Mapping[str, pd.DataFrame]) -> Transfer | None:
    """How rates travel between the studies; None with fewer than two methods' tasks to compare.

    Args:
        studies: title of a task -> its study's `runs`, with a run that ended.
    """
    ended = {title: runs[runs["counted"]] for title, runs in studies.items()}
    labels, tasks, left_out = _taking_part(ended)
    if len(tasks) < FEWEST:
        return None
    rng = np.random.default_rng(0)
    curves = {}
    for title in tasks:
        sign = direction(ended[title])
        for label in labels:
            rows = ended[title][ended[title]["label"] == label]
            curves[title, label] = resample(scores(rows), rng, sign)
    scales = {title: _scale(ended[title], [curves[title, label] for label in labels]) for title in tasks}
    by_label = {label: _travel([_scaled(curves[t, label], *scales[t]) for t in tasks]) for label in labels}
    return Transfer(tasks, by_label, left_out)


def _taking_part(ended: Mapping[str, pd.DataFrame]) -> tuple[list[str], list[str], dict[str, list[str]]]:
    """Labels that learn on two tasks or more, the tasks on which all of those do, and what is out."""
    reasons = {
        title: {str(label): why_not_learning(rows) for label, rows in runs.groupby("label")}
        for title, runs in ended.items()
    }
    everywhere = dict.fromkeys(
        label for runs in ended.values() for label in runs.sort_values("rank")["label"].unique()
    )
    learns = {label: [t for t in ended if reasons[t].get(label) == ""] for label in everywhere}
    labels = [label for label, where in learns.items() if len(where) >= FEWEST]
    left_out: dict[str, list[str]] = {label: [] for label in learns if label not in labels}
    tasks = []
    for title in ended:
        lacking = [label for label in labels if title not in learns[label]]
        if lacking:
            left_out[title] = lacking
        else:
            tasks.append(title)
    return labels, tasks, left_out


def _scale(runs: pd.DataFrame, curves: list[Resampled]) -> tuple[float, Array, Array]:
    """A guess, and (1 + B,) the best method's tuned score on validation and on test: 0 and 1 of the scale.

    A task without a score of guessing has the untouched model's in its place.
    """
    sign = direction(runs)
    floor = runs["chance"].mean()
    floor = sign * float(floor if np.isfinite(floor) else runs["base_test"].mean())
    best = [np.stack([at(getattr(c, split), c.best) for c in curves]).max(0) for split in ("valid", "test")]
    return floor, best[0], best[1]


@dataclass(frozen=True)
class _OnScale:
    """One method's curves of a task on the common scale; arrays as of Resampled."""

    log_lr: Array
    valid: Array
    test: Array
    best: NDArray[np.intp]


def _scaled(curve: Resampled, floor: float, best_valid: Array, best_test: Array) -> _OnScale:
    valid, test = (
        (scores - floor) / (best - floor)[:, None]
        for scores, best in ((curve.valid, best_valid), (curve.test, best_test))
    )
    return _OnScale(np.log10(curve.lrs), valid, test, curve.best)


def _travel(tasks: list[_OnScale]) -> Travel:
    tuned = np.stack([at(task.test, task.best) for task in tasks], -1)  # (1 + B, T)
    matrix = np.stack(
        [
            np.stack(
                [tuned[:, b] - _at_rate(on, source.log_lr[source.best]) for b, on in enumerate(tasks)], -1
            )
            for source in tasks
        ],
        1,
    )
    shared = _shared_rates(tasks)
    columns = [[_index(task.log_lr, rate) for rate in shared] for task in tasks]
    valid = np.stack([task.valid[:, places] for task, places in zip(tasks, columns, strict=True)])
    chosen = []
    for one in range(len(tasks)):
        of_others = np.delete(valid, one, 0).mean(0)  # (1 + B, shared rates)
        chosen.append(shared[tuned_index(of_others)] if len(shared) else np.full(len(tuned), np.nan))
    without = np.stack([_at_rate(task, rate) for task, rate in zip(tasks, chosen, strict=True)], -1)
    return Travel(
        lrs=np.array([10 ** task.log_lr[task.best[0]] for task in tasks]),
        rates=np.array([10 ** rate[0] for rate in chosen]),
        matrix=matrix,
        left_out=tuned - without,
        gap=1 - tuned,
        left_out_gap=1 - without,
    )


def _shared_rates(tasks: list[_OnScale]) -> Array:
    """log10 of the rates that every task has."""
    first, *others = tasks
    found = [rate for rate in first.log_lr if all(_index(task.log_lr, rate) >= 0 for task in others)]
    return np.array(found, dtype=float)


def _index(log_lr: Array, rate: float) -> int:
    """Where the grid has the rate, -1 where it has not."""
    nearest = int(np.abs(log_lr - rate).argmin())
    return nearest if abs(log_lr[nearest] - rate) < GRID_TOLERANCE else -1


def _at_rate(task: _OnScale, log_rate: Array) -> Array:
    """Test scores at one rate per resample: (1 + B,) -> (1 + B,); nan where the grid lacks the rate."""
    distance = np.abs(task.log_lr - log_rate[:, None])
    index = distance.argmin(-1)
    return np.where(distance.min(-1) < GRID_TOLERANCE, at(task.test, index), np.nan)


def profile(gap: Array, taus: Array) -> Array:
    """Share of tasks whose gap is at most tau: (..., T), (K,) -> (..., K)."""
    share: Array = (gap[..., None, :] <= taus[:, None] + 1e-12).mean(-1)
    return share
