"""The studies of an atlas, one for each task, with their tables of robustness."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.atlas.joined import Joined, join, read_comparisons
from analysis.data.names import label_name
from analysis.data.scores import direction
from analysis.data.table import AnalysisError, Study, load
from analysis.figures.elements import Reference, references
from analysis.statistics.robustness import robustness_table
from analysis.statistics.tuning import TuningCurve, tuning_curves
from study.storage.atlas_file import Atlas, read_atlas


@dataclass(frozen=True)
class Task:
    """One task of an atlas, in which at least one run ended.

    study: its name is as commands take it: `atlas/vtab`.
    table: its `robustness_table`, index the labels.
    joined: those of its labels that comparisons ran.
    """

    name: str
    study: Study
    table: pd.DataFrame
    joined: Mapping[str, Joined] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """`glue topic` for glue_topic."""
        return self.name.replace("_", " ")

    @property
    def sign(self) -> float:
        """1 where more of the metric is better, else -1."""
        return direction(self.study.runs)

    @cached_property
    def untouched(self) -> float:
        """The score of the base model as it is."""
        return float(self.study.runs["base_test"].mean())

    @cached_property
    def best(self) -> float:
        """The best tuned score of any method."""
        return float(self.sign * (self.sign * self.table["tuned_test"]).max())

    @cached_property
    def references(self) -> list[Reference]:
        """Scores that every method is compared with."""
        return references(self.study, "test")

    @cached_property
    def tuning(self) -> dict[str, TuningCurve]:
        """What tuning costs, as in the study's own report: of each label that has two whole rates or more."""
        return tuning_curves(self.study)

    def budget(self, label: str) -> tuple[float, float, float]:
        """How many rates one has to try, with its 95 % interval (`TuningCurve.budget`); nan if unknown."""
        curve = self.tuning.get(label)
        return curve.budget() if curve else (math.nan, math.nan, math.nan)

    def places(self, quantity: str) -> pd.Series:
        """The rank of each label, 1 the best, by tuned_test or regret_window; equal ones share a mean.

        Who does not learn has none by sensitivity: at chance there is nothing to lose.
        """
        values = self.table[quantity].astype(float)
        if quantity == "tuned_test":
            return (self.sign * values).rank(ascending=False)
        return values.where(self.table["not_learning"] == "").rank()


@dataclass(frozen=True)
class Collected:
    """An atlas: its plan, and the tasks of which there are results, by name, in the plan's order.

    runs: of every task that has a table of runs, those in which no run ended too; without what joined.
    apart: why methods of comparisons are not shown.
    """

    folder: Path
    plan: Atlas
    tasks: Mapping[str, Task]
    runs: Mapping[str, pd.DataFrame]
    apart: Sequence[str] = ()

    @cached_property
    def method_of(self) -> dict[str, str]:
        """label -> its method, of all tasks."""
        studies = [task.study for task in self.tasks.values()]
        return {label: study.method_of[label] for study in studies for label in study.labels}

    @cached_property
    def names(self) -> dict[str, str]:
        """label -> its name as pages show it."""
        return {label: label_name(label, method) for label, method in self.method_of.items()}


def collect(folder: Path) -> Collected:
    """Reads the atlas in `folder`, and the comparisons beside it.

    Raises:
        UsageError: if there is no atlas.json, tables are missing or damaged, or no run ended.
    """
    plan = read_atlas(folder)
    tasks, runs = {}, {}
    comparisons, apart = read_comparisons(folder.resolve().parent)
    for name in plan.known:
        if not (folder / name / "runs.parquet").is_file():
            continue
        study = load(folder / name)
        runs[name] = study.runs
        if study.runs["counted"].any():
            study, joined, not_joined = join(study, comparisons)
            apart += not_joined
            study = replace(study, name=f"{folder.resolve().name}/{name}")
            table = robustness_table(study.runs).set_index("label", drop=False).rename_axis(None)
            tasks[name] = Task(name, study, table, joined)
    if not tasks:
        raise AnalysisError(f"{folder} holds no run that ended; {plan.command or 'python -m study.atlas'}")
    return Collected(folder, plan, tasks, runs, apart)
