"""A method in one sentence, made from its figures: on one task, and over all."""

from __future__ import annotations

import math

import pandas as pd

from analysis.atlas.collected import Collected, Task
from analysis.reporting.number_text import interval_text, number_text
from analysis.reporting.tuning import budget_text
from analysis.statistics.learning import MIN_SEEDS


def on_task(name: str, task: Task, label: str) -> str:
    """`HRA: rank 3 of 38 by tuned score, 0.912 [0.897, 0.925]; loses 0.12 ...; diverges in 5 of 45 runs.`"""
    row = task.table.loc[label]
    if row["not_learning"]:
        return f"{name} {row['not_learning']}; {_diverges(int(row['diverged']), int(row['runs']))}."
    place = task.places("tuned_test")[label]
    bound = " or more" if row["plateau_10_censored"] != "none" else ""
    clauses = [
        f"rank {place:g} of {len(task.table)} by tuned score, {interval_text(row, 'tuned_test')}",
        f"loses {interval_text(row, 'regret_window')} within 1.5 decades",
        f"stays within 10 % over {number_text(row['plateau_10'])}{bound} decades",
        *_tuned_after(*task.budget(label)),
        _diverges(int(row["diverged"]), int(row["runs"])),
    ]
    few = f" ({_seeds(int(row['seeds']))}: no verdict)" if row["seeds"] < MIN_SEEDS else ""
    return f"{name}: {'; '.join(clauses)}{few}."


def over_all(atlas: Collected, row: pd.Series) -> str:
    """The same over the tasks that the method has runs on.

    Args:
        row: of `analysis.atlas.numbers.summary`.
    """
    label = str(row["label"])
    name = atlas.names[label]
    having = [task for task in atlas.tasks.values() if label in task.table.index]
    if len(having) == 1:
        sentence = on_task(name, having[0], label)
        return sentence if len(atlas.tasks) == 1 else f"{sentence[:-1]}; on {having[0].title} alone."
    most = max(len(task.table) for task in having)
    clauses = [f"average rank {row['rank_score']:.1f} of {most} by tuned score over {len(having)} tasks"]
    if not math.isnan(row["lost"]):
        clauses.append(
            f"loses {100 * row['lost']:.0f} % of the best method's gain within 1.5 decades of its tuned rate"
        )
    idle = [task.title for task in having if task.table.loc[label, "not_learning"]]
    clauses += [f"is not shown to learn on {', '.join(idle)}"] * bool(idle)
    clauses.append(_diverges(int(row["diverged_runs"]), int(row["runs"])))
    return f"{name}: {'; '.join(clauses)}."


def _tuned_after(value: float, low: float, high: float) -> list[str]:
    if math.isnan(value):
        return []
    return [f"random rates to try until within 5 % of what its best gains: {budget_text(value, low, high)}"]


def _diverges(diverged: int, runs: int) -> str:
    return f"diverges in {diverged} of {runs} runs"


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"
