"""A space of hyperparameters, as a sweep's file or the command line gives it: read and checked.

space:
  lr: {log: [1e-4, 1]}               # evenly spread in the logarithm
  task.weight_decay: {float: [0, 0.1]}
  method.lora.r: {int: [1, 4]}       # whole numbers, both ends included
  task.batch_size: [8, 16, 32]       # choices
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig

from study.config import names
from study.config.checks import check_bounds
from study.config.overrides import set_value
from study.errors import UsageError, listed
from study.planning import space
from study.planning.rungs import rung_steps
from study.settings import About, SweepSettings, is_axis, settings_by_key

KEYS = ("trials", "sampler", "sampler_seed", "wave", "pruner", "reduction", "rungs")
"""Settings of a space alone."""

FORMS = "{log: [1e-4, 1]}, {float: [0, 1]}, {int: [1, 8]} or choices such as [2, 4, 8]"

OTHER_DATA = ("task.data", "task.subset", "task.kind", "task.text_column", "task.label_column")
"""What decides which data a run is scored on."""

MOST_COMBINATIONS = 256
"""Of a method's options: each is tried on the model before anything trains."""


def check_space(config: DictConfig, settings: SweepSettings, given: Mapping[str, str]) -> None:
    """Refuses a space from which no runs could be drawn, and settings of spaces in a grid.

    Args:
        config: from which `settings` were made.
        given: the text of each override by its key.

    Raises:
        UsageError: naming the key, what is wrong and what would be right.
    """
    if not settings.space:
        if misplaced := [given[key] for key in KEYS if key in given]:
            raise UsageError(f"{misplaced[0]} does nothing: sweep {settings.sweep} is a grid, not a space")
        return
    if settings.sampler not in space.LEARNING and "wave" in given:
        raise UsageError(f"{given['wave']} does nothing: sampler={settings.sampler} draws all trials at once")
    if settings.pruner == "none" and (
        misplaced := [given[key] for key in ("reduction", "rungs") if key in given]
    ):
        raise UsageError(f"{misplaced[0]} does nothing without a pruner; give pruner=halving or hyperband")
    if settings.axes or settings.points:
        what = "axes" if settings.axes else "points"
        raise UsageError(
            f"sweep {settings.sweep} has a space and {what}; write choices such as lr: [1e-3, 1e-2]"
        )
    if settings.save_adapters == "best":
        raise UsageError("save_adapters=best is of a grid's tuned rates; in a space give all or none")
    for key, values in settings.space.items():
        _check_key(config, settings, key)
        _check_form(key, values)
        _check_values(config, key, values)
        if space.splits_packs(key):
            _check_packs(key, values, settings.trials)
    _check_rate_is_set(settings)
    if (
        settings.pruner != "none" and settings.reduction > 1 and settings.rungs > 0
    ):  # else refused as settings
        _check_rungs(settings)
    for method in settings.methods:
        its_space = space.of_method(settings.space, method)
        if not its_space:
            raise UsageError(f"the space has nothing that varies for method {method}")
        count = math.prod(
            len(space.listed_values(v) or [0]) for k, v in its_space.items() if k[:7] == "method."
        )
        if count > MOST_COMBINATIONS:
            raise UsageError(
                f"the space has {count} combinations of options of {method}; give at most {MOST_COMBINATIONS}"
            )


def _check_rate_is_set(settings: SweepSettings) -> None:
    if "lr" in settings.space and settings.lr:
        raise UsageError(f"sweep {settings.sweep} sets lr for its space and in it; leave one out")
    if "lr" not in settings.space and len(settings.lr) != 1:
        raise UsageError("lr: give one rate, or let it vary in the space, such as lr: {log: [1e-4, 1]}")


def _check_rungs(settings: SweepSettings) -> None:
    """Refuses rungs that a run of the space does not have: it is judged only where it is measured."""
    of_space = [settings.space.get(f"task.{name}") for name in ("steps", "evaluations")]
    steps, evaluations = (
        space.listed_values(values) or _within(values) if values else [default]
        for values, default in zip(of_space, (settings.task.steps, settings.task.evaluations), strict=True)
    )
    for task in (
        dataclasses.replace(settings.task, steps=int(of_steps), evaluations=int(count))
        for of_steps in steps
        for count in evaluations
    ):
        judged_at = rung_steps(task, settings.reduction, settings.rungs)
        if len({*judged_at, task.steps}) <= settings.rungs:
            raise UsageError(
                f"pruner={settings.pruner} rungs={settings.rungs}: {task.steps} steps with "
                f"task.evaluations={task.evaluations} are too few to judge a run at "
                f"{listed(_shares(settings))} of its steps; give task.evaluations="
                f"{settings.reduction**settings.rungs}, or fewer rungs"
            )


def _shares(settings: SweepSettings) -> list[str]:
    return [f"1/{settings.reduction**k}" for k in range(settings.rungs, 0, -1)]


def _check_key(config: DictConfig, settings: SweepSettings, key: str) -> None:
    if key == "method":
        raise UsageError("method in a space: write methods: [ether, lora]; each has trials of its own")
    if key in ("seed", "seeds"):
        raise UsageError(
            f"{key} in a space: seeds are no hyperparameter; give seeds=3, and each trial has three runs"
        )
    names.check_key(config, key)
    if key == "lr":
        return
    if key in OTHER_DATA:
        raise UsageError(
            f"{key} in a space: scores on different data do not compare; give each a study, name=..."
        )
    if not is_axis(key):
        raise UsageError(f"{key} cannot vary in a space: it is not an axis of a grid either")
    setting = key.removeprefix("task.")
    if key.startswith("task.") and not names.task_reads(settings.task.name, setting):
        raise UsageError(f"{key} in the space reaches no run: task {settings.task.name} does not read it")


def _check_form(key: str, values: Any) -> None:
    """Raises UsageError if it is neither a range with two ends in order, nor several choices."""
    if isinstance(values, list):
        if len(values) < 2:
            what = f"its only choice is {values[0]}" if values else "it has no choices"
            raise UsageError(f"{key} in the space: {what}; give several, or set {key} outside of the space")
        if repeated := [value for i, value in enumerate(values) if value in values[:i]]:
            raise UsageError(f"{key} in the space repeats {repeated[0]}; give each choice once")
        return
    if not isinstance(values, dict) or len(values) != 1 or not set(values) <= set(space.RANGES):
        what = "is neither a range nor choices" if isinstance(values, dict) else "is one value, not a range"
        raise UsageError(f"{key}={values} in the space {what}; write {FORMS}")
    ((kind, ends),) = values.items()
    written = f"{key}: {{{kind}: {ends}}} in the space"
    is_number = isinstance(ends, list) and all(
        isinstance(end, int | float) and not isinstance(end, bool) and math.isfinite(end) for end in ends
    )
    if not is_number or len(ends) != 2:
        raise UsageError(f"{written}: a range has two ends, which are numbers; write {FORMS}")
    low, high = ends
    if low >= high:
        hint = (
            f"write [{high}, {low}]" if low > high else "its ends are the same; set it outside of the space"
        )
        raise UsageError(f"{written} is {'reversed' if low > high else 'empty'}: {hint}")
    if kind == "log" and low <= 0:
        raise UsageError(f"{written}: {low} has no logarithm; begin above zero, or write {{float: {ends}}}")
    if kind == "int" and not all(float(end).is_integer() for end in ends):
        raise UsageError(f"{written}: the ends of whole numbers are whole; or write {{float: {ends}}}")


def _check_values(config: DictConfig, key: str, values: Any) -> None:
    """Raises UsageError if the key cannot take what the space has for it."""
    scratch = copy.deepcopy(config)
    tried = values if isinstance(values, list) else _within(values)
    for value in tried:
        if key == "lr":
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise UsageError(f"lr={value} in the space is not a learning rate; give positive numbers")
            continue
        try:
            set_value(scratch, key, value)
            if key.startswith("method."):
                _, method, option = key.split(".", 2)
                names.check_value(method, option, value)
        except UsageError as error:
            if not isinstance(values, list) and "int" not in values:
                hint = "if it takes whole numbers, write {int: [1, 8]} or choices"
                raise UsageError(f"{key} in the space: {error}; {hint}") from None
            raise
        check_bounds(key, value, settings_by_key().get(key, About("")))


def _within(values: Mapping[str, list[float]]) -> list[float]:
    """Values of a range that stand for all: the ends and, if not of whole numbers alone, one between."""
    ((kind, (low, high)),) = values.items()
    return [low, high] if kind == "int" else [low, low + 0.37 * (high - low), high]


def _check_packs(key: str, values: Any, trials: int) -> None:
    """Refuses a range that would give nearly every trial a pack of its own."""
    listed_there = space.listed_values(values)
    if isinstance(values, list) or (listed_there is not None and len(listed_there) <= trials / 2):
        return
    ((kind, (low, high)),) = values.items()
    example = [round(low + (high - low) * share) if high - low > 2 else low + (high - low) * share
               for share in (0.1, 0.5, 1)]  # fmt: skip
    raise UsageError(
        f"{key}: {{{kind}: [{low}, {high}]}} in the space would let nearly every trial train alone, for runs "
        f"that differ in it share no pack; give choices: [{listed([f'{each:g}' for each in example])}]"
    )
