"""From settings to runs. A *run* is one training: method, hyperparameters, task and seed."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from omegaconf import MISSING

from study.errors import UsageError
from study.settings import MethodOptions, SweepSettings, TaskSettings, per_run_settings

PER_RUN = per_run_settings()
"""Task settings that may differ within a pack; any other difference splits packs."""


def digest(value: Any) -> str:
    """A short hash of the canonical JSON form of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


TASK_DEFAULTS: dict[str, object] = {
    f.name: f.default_factory() if callable(f.default_factory) else f.default
    for f in dataclasses.fields(TaskSettings)
    if f.default != MISSING
}
"""Task settings that need not be given, with their defaults."""


def canonical(task: TaskSettings, leave_out: Sequence[str] = ()) -> dict[str, Any]:
    """Task settings without those at their default, so that a new setting changes no old run's hash."""
    return {
        key: value
        for key, value in vars(task).items()
        if key not in leave_out and (key not in TASK_DEFAULTS or value != TASK_DEFAULTS[key])
    }


@dataclass(frozen=True)
class Run:
    """One training: everything that decides its result.

    Attributes:
        options: of the method.
    """

    task: TaskSettings = field(hash=False)
    method: str
    options: MethodOptions = field(hash=False)
    lr: float
    seed: int

    @cached_property
    def run_id(self) -> str:
        """Hash of the canonical, resolved configuration."""
        return digest([canonical(self.task), self.method, self.options, self.lr, self.seed])

    @cached_property
    def variant(self) -> str:
        """Runs of one variant can share a pack: same method, options and task, but for PER_RUN."""
        return digest([canonical(self.task, leave_out=PER_RUN), self.method, self.options])

    @property
    def title(self) -> str:
        """`ether (blocks=4)`"""
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.method} ({options})" if options else self.method

    def settings(self) -> dict[str, Any]:
        """Every hyperparameter by the name of its column: `method.<name>.<option>`, `task.<setting>`."""
        options = {f"method.{self.method}.{option}": value for option, value in self.options.items()}
        task = {f"task.{key}": value for key, value in vars(self.task).items()}
        return options | {key: value for key, value in task.items() if key not in ("task.name", "task.scale")}

    def to_json(self) -> dict[str, Any]:
        return {
            "task": vars(self.task),
            "method": self.method,
            "options": self.options,
            "lr": self.lr,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Run:
        return cls(**{**content, "task": TaskSettings(**content["task"])})


def plan_runs(settings: SweepSettings) -> list[Run]:
    """Every run of the sweep: methods x points x other axes x seeds x learning rates, in that order.

    Raises:
        UsageError: if the sweep's runs are drawn from a space, and no points are given.
    """
    if settings.space and not settings.points:
        raise UsageError(f"sweep {settings.sweep} draws its runs from a space; name one that is a grid")
    runs = []
    for method in settings.methods:
        prefix = f"method.{method}."
        axes = {k: v for k, v in settings.axes.items() if not k.startswith("method.") or k.startswith(prefix)}
        for point in settings.points or [{}]:
            if point.get("method", method) != method:
                continue
            rates = settings.lr or [point["lr"]]
            for values in itertools.product(*axes.values()):
                changes = {**point, **dict(zip(axes, values, strict=True))}
                options = settings.method.get(method, {}) | _below(prefix, changes)
                task = dataclasses.replace(settings.task, **_below("task.", changes))
                for seed in settings.chosen_seeds:
                    runs += [Run(task, method, options, lr, seed) for lr in rates]
    return runs


def _below(prefix: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings whose key begins with the prefix, by the rest of their keys."""
    return {key.removeprefix(prefix): value for key, value in settings.items() if key.startswith(prefix)}


def group_by_variant(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """The runs that can share packs, in the plan's order."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.variant, []).append(run)
    return groups


def variant_titles(groups: Mapping[str, Sequence[Run]]) -> dict[str, str]:
    """Each variant's title; where task settings are axes, those too: `lora (r=8) task.subset=topic`."""
    tasks = {variant: vars(group[0].task) for variant, group in groups.items()}
    differing = [
        key
        for key in next(iter(tasks.values()), {})
        if key not in PER_RUN and len({str(task[key]) for task in tasks.values()}) > 1
    ]
    return {
        variant: " ".join([group[0].title, *(f"task.{k}={tasks[variant][k]}" for k in differing)])
        for variant, group in groups.items()
    }
