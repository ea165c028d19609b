"""Each method over all tasks: ranks, and means of figures that compare between tasks.

Scores of different metrics do not compare, so a score is counted as a share of the way from the untouched
base model to the best method of the task, and a loss as a share of the same way.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

from analysis.atlas.collected import Collected, Task

DEFINITIONS = {
    "tasks": "On how many tasks the method has runs that ended; all other figures are over these.",
    "rank_score": "Mean over tasks of the method's rank by tuned test score, 1 the best.",
    "rank_sensitivity": "The same by sensitivity; tasks on which the method does not learn have no rank.",
    "score": "Tuned test score: the share of the way from the untouched base model to the best method of the "
    "task, mean over tasks. 1 is the best on every task, 0 no better than the untouched model.",
    "lost": "Sensitivity: how much of that way is lost, on average, within 1.5 decades of the tuned learning "
    "rate; mean over the tasks on which the method learns.",
    "plateau": "Decades of learning rate within which the mean score stays within 10 % of the tuned one; "
    "mean over the tasks on which the method learns. ≥ where on some of them it reaches an end of the grid.",
    "budget": "How many different rates of the grid one has to try, drawn at random and chosen by validation "
    "score, until the expected test score has 95 % of what the best of all rates gains over chance; mean "
    "over the tasks on which the method learns.",
    "diverged": "Share of all its runs that diverged.",
    "parameters": "Trained numbers, mean over tasks.",
    "step_seconds": "Seconds of training per step and run, packed as it was; mean over tasks.",
    "saved_mb": "What a training step of one run holds for its backward pass, in MB of 2^20 bytes; mean over "
    "the tasks on which it was measured.",
}
"""What the columns of `summary` mean."""

TITLES = {
    "rank_score": "rank by score",
    "rank_sensitivity": "rank by sensitivity",
    "score": "score [share of the best]",
    "lost": "lost nearby [share]",
    "plateau": "plateau [decades]",
    "budget": "tuning budget [rates]",
    "diverged": "diverged [share]",
    "parameters": "parameters",
    "step_seconds": "seconds per step",
    "saved_mb": "memory [MB]",
    "tasks": "tasks",
}
"""The columns of the index, with their headings."""


def summary(atlas: Collected) -> pd.DataFrame:
    """One row per label, the best average rank by score first: label, method, the columns of TITLES.

    Beside them plateau_bound (whether the plateau is a lower bound on some task), runs, diverged_runs and
    failed over all tasks, and learns (on how many tasks). A figure is nan where it is known of no task.
    """
    rows = []
    for label, method in atlas.method_of.items():
        of = [(task, task.table.loc[label]) for task in atlas.tasks.values() if label in task.table.index]
        if of:
            rows.append({"label": label, "method": method, **_row(atlas, label, of)})
    return pd.DataFrame(rows).sort_values("rank_score", kind="stable").reset_index(drop=True)


def _row(atlas: Collected, label: str, of: list[tuple[Task, pd.Series]]) -> dict[str, object]:
    learning = [(task, row) for task, row in of if not row["not_learning"]]
    runs, diverged = (int(sum(row[name] for _, row in of)) for name in ("runs", "diverged"))
    return {
        "tasks": len(of),
        "learns": len(learning),
        "rank_score": _mean(task.places("tuned_test")[label] for task, _ in of),
        "rank_sensitivity": _mean(task.places("regret_window")[label] for task, _ in of),
        "score": _mean(share(task, row["tuned_test"] - task.untouched) for task, row in of),
        "lost": _mean(task.sign * share(task, row["regret_window"]) for task, row in learning),
        "plateau": _mean(row["plateau_10"] for _, row in learning),
        "plateau_bound": any(row["plateau_10_censored"] != "none" for _, row in learning),
        "budget": _mean(task.budget(label)[0] for task, _ in learning),
        "diverged": diverged / runs,
        "runs": runs,
        "diverged_runs": diverged,
        "failed": int(sum(row["failed"] for _, row in of)),
        "parameters": _mean(row["parameters"] for _, row in of),
        "step_seconds": _mean(row["step_seconds"] for _, row in of),
        "saved_mb": _mean(saved_mb(atlas, task, label) for task, _ in of),
    }


def share(task: Task, difference: float) -> float:
    """A difference of scores as a share of what lies between the untouched model and the best method.

    nan where no method is better than the untouched model.
    """
    way = task.best - task.untouched
    return difference / way if task.sign * way > 0 else math.nan


def saved_mb(atlas: Collected, task: Task, label: str) -> float:
    """The memory that the plan, or the comparison, knows of; nan where it was not measured."""
    if joined := task.joined.get(label):
        return math.nan if joined.cost.saved_mb is None else joined.cost.saved_mb
    planned = atlas.plan.tasks.get(task.name)
    method = planned.methods.get(atlas.method_of[label]) if planned else None
    return math.nan if method is None or method.saved_mb is None else method.saved_mb


def _mean(values: Iterable[float]) -> float:
    known = [float(value) for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
