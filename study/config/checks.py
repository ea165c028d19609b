"""What is refused before any work starts: values that no run could use."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from pathlib import Path
from typing import Any

from study import launchers
from study.errors import UsageError
from study.settings import JUDGES, About, SweepSettings, settings_by_key
from study.tasks.loading.sources import local_path


def check_rate(value: Any) -> None:
    """Raises UsageError if a learning rate is no number, or a number in quotes: in a file likely a slip."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return
    with contextlib.suppress(TypeError, ValueError):
        if isinstance(value, str):
            float(value)
            raise UsageError(f"lr={value!r} is text, not a number; write it without quotes")
    raise UsageError(f"lr={value} is not a number; write lr=1e-3,1e-2 or lr=1e-4..1:9")


def check(s: SweepSettings) -> None:
    """Refuses values that cannot work, before anything starts.

    Raises:
        UsageError: naming the key, its value and what would be right.
    """
    _check_grid(s)
    _check_seeds(s)
    known = settings_by_key()
    for key, bounds in known.items():
        check_bounds(key, _value(s, key), bounds)
    further = [*s.axes.items(), *((key, [value]) for point in s.points for key, value in point.items())]
    for key, values in further:
        for value in values:
            check_bounds(key, value, known.get(key, About("")))
    if s.task.accumulate > s.task.batch_size:
        raise UsageError(
            f"task.accumulate={s.task.accumulate} is more than task.batch_size={s.task.batch_size}"
        )
    if (s.task.refit_steps or 0) > s.task.steps:
        raise UsageError(f"task.refit_steps={s.task.refit_steps} is more than task.steps={s.task.steps}")
    if Path(s.name).name != s.name or s.name.startswith("."):
        raise UsageError(f"name={s.name} is not a folder's name; give one without slashes")
    _check_launcher(s)


def _check_grid(s: SweepSettings) -> None:
    of_all = {*s.axes, *(["lr"] if s.lr else [])}
    if both := sorted(of_all.intersection(*[{key for point in s.points for key in point}])):
        raise UsageError(f"sweep {s.sweep} sets {both[0]} for its points and in them; leave one out")
    axes: dict[str, list[Any]] = {"method": s.methods, **s.axes}
    if "lr" not in s.space and (not s.points or any("lr" not in point for point in s.points)):
        axes["lr"] = s.lr
    for key, values in axes.items():
        if not values:
            raise UsageError(f"{key} is empty; give at least one")
        if repeated := [v for i, v in enumerate(values) if v in values[:i]]:
            raise UsageError(f"{key} repeats {repeated[0]}; give each value once")
    for lr in [*s.lr, *(point["lr"] for point in s.points if "lr" in point)]:
        if not (math.isfinite(lr) and lr > 0):
            raise UsageError(f"lr={lr} is not a learning rate; give positive, finite numbers")


def _check_seeds(s: SweepSettings) -> None:
    if negative := [seed for seed in s.seed if seed < 0]:
        raise UsageError(f"seed={negative[0]} must be zero or more")
    if repeated := [seed for i, seed in enumerate(s.seed) if seed in s.seed[:i]]:
        raise UsageError(f"seed repeats {repeated[0]}; give each value once")


def _value(s: SweepSettings, key: str) -> Any:
    """What is set under `seeds` or `task.steps`, of whatever type the setting has."""
    return functools.reduce(getattr, key.split("."), s)


def check_bounds(key: str, value: Any, bounds: About) -> None:
    """Raises UsageError if a value is none of a setting's choices, or beyond its bounds."""
    if value is None:  # where it is allowed at all, it stands for a default
        return
    if bounds.choices and value not in bounds.choices:
        raise UsageError(f"{key}={value} is not one of: {', '.join(bounds.choices)}")
    if bounds.above is None and bounds.at_least is None and bounds.at_most is None:
        return
    if isinstance(value, str):  # in an axis, whose values the schema does not know
        raise UsageError(f"{key}={value!r} is text, not a number; write it without quotes")
    if bounds.above is not None and not (math.isfinite(value) and value > bounds.above):
        words = "positive" if bounds.above == 0 else f"more than {bounds.above:g}"
        raise UsageError(f"{key}={value} must be {words}")
    if bounds.at_least is not None and not (math.isfinite(value) and value >= bounds.at_least):
        words = "zero" if bounds.at_least == 0 else f"{bounds.at_least:g}"
        raise UsageError(f"{key}={value} must be {words} or more")
    if bounds.at_most is not None and not value <= bounds.at_most:
        raise UsageError(f"{key}={value} must be {bounds.at_most:g} or less")


def check_sources(s: SweepSettings) -> None:
    """Refuses a model or data set that is plainly not on this machine."""
    for key in ("model", "data", *JUDGES):
        given = s.axes.get(f"task.{key}") or s.space.get(f"task.{key}") or [getattr(s.task, key)]
        for value in given:
            if value is not None:
                _check_source(f"task.{key}", str(value))


def _check_launcher(s: SweepSettings) -> None:
    launcher = launchers.load(s.launcher)
    launcher.validate()
    if s.detach and not launcher.can_detach:
        raise UsageError("detach=true needs launcher=slurm: local workers end with this command")


def _check_source(key: str, value: str) -> None:
    """A model or data set that is plainly not there: a path to nothing, or an unknown name when offline.

    Raises:
        UsageError: saying what is there instead.
    """
    if local_path(key, value) is not None or "/" not in value:
        return
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        from huggingface_hub.constants import HF_HUB_CACHE

        kind = "datasets" if key == "task.data" else "models"
        if not (Path(HF_HUB_CACHE) / f"{kind}--{value.replace('/', '--')}").is_dir():
            raise UsageError(
                f"{key}={value}: no such folder, and not in the hub's cache (HF_HUB_OFFLINE is set); "
                "fetch it with prefetch=true where there is internet"
            )
