"""What is refused before any work starts: values that no run could use."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import launchers
from study.errors import UsageError, nearest
from study.settings import SAVE_ADAPTERS

if TYPE_CHECKING:
    from study.settings import SweepSettings


def check_number(key: str, value: Any) -> None:
    """Text is refused even where it could be read as a number: in a file it is likely a slip."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return  # the schema has a better word for it
        raise UsageError(f"{key}={value!r} is text, not a number; write it without quotes")


def check(s: SweepSettings) -> None:
    """Refuses values that cannot work, before anything starts.

    Raises:
        UsageError: naming the key, its value and what would be right.
    """
    axes: dict[str, list[Any]] = {"method": s.methods, **s.axes}
    if not s.points or any("lr" not in point for point in s.points):
        axes["lr"] = s.lr
    for key, values in axes.items():
        if not values:
            raise UsageError(f"{key} is empty; give at least one")
        if repeated := [v for i, v in enumerate(values) if v in values[:i]]:
            raise UsageError(f"{key} repeats {repeated[0]}; give each value once")
    for lr in [*s.lr, *(point["lr"] for point in s.points if "lr" in point)]:
        if not (math.isfinite(lr) and lr > 0):
            raise UsageError(f"lr={lr} is not a learning rate; give positive, finite numbers")
    positive = {
        "seeds": s.seeds,
        "task.batch_size": s.task.batch_size,
        "task.eval_batch_size": s.task.eval_batch_size,
        "task.evaluations": s.task.evaluations,
        "pack_size": s.pack_size,
        "checkpoint_s": s.checkpoint_s,
        "launcher.workers": s.launcher.workers,
        "launcher.cpus_per_task": s.launcher.cpus_per_task,
        "launcher.mem_gb": s.launcher.mem_gb,
        "launcher.gpu_memory_gb": s.launcher.gpu_memory_gb,
        "launcher.timeout_min": s.launcher.timeout_min,
        "launcher.array_parallelism": s.launcher.array_parallelism,
        "launcher.max_array": s.launcher.max_array,
        "task.head_lr": s.task.head_lr,
        "task.clip": s.task.clip,
        "task.max_length": s.task.max_length,
        "task.accumulate": s.task.accumulate,
    }
    for key, number in positive.items():
        if number is not None and not (math.isfinite(number) and number > 0):
            raise UsageError(f"{key}={number} must be positive")
    for key in ("steps", "weight_decay", "warmup_steps", "noise"):
        number = getattr(s.task, key)
        if not (math.isfinite(number) and number >= 0):
            raise UsageError(f"task.{key}={number} must be zero or more")
    if s.task.accumulate > s.task.batch_size:
        raise UsageError(
            f"task.accumulate={s.task.accumulate} is more than task.batch_size={s.task.batch_size}"
        )
    choices: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "task.precision": (s.task.precision, ("float32", "bfloat16")),
        "launcher.device": (s.launcher.device, (None, "cpu", "cuda")),
        "retry": (s.retry, (None, "failed")),
        "save_adapters": (s.save_adapters, SAVE_ADAPTERS),
    }
    for key, (value, allowed) in choices.items():
        if value not in allowed:
            words = ", ".join(str(a) for a in allowed if a is not None)
            raise UsageError(f"{key}={value} is not one of: {words}")
    if Path(s.name).name != s.name or s.name.startswith("."):
        raise UsageError(f"name={s.name} is not a folder's name; give one without slashes")
    _check_launcher(s)


def check_sources(s: SweepSettings) -> None:
    """Refuses a model or data set that is plainly not on this machine."""
    for key, first in (("model", s.task.model), ("data", s.task.data)):
        for value in s.axes.get(f"task.{key}", [first]):
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
    path = Path(value).expanduser()
    if path.exists() or "/" not in value:
        return
    if value.startswith((".", "/", "~")) or value.count("/") > 1 or Path(value.split("/")[0]).is_dir():
        there = [str(p) for p in path.parent.glob("*")] if path.parent.is_dir() else []
        hint = f"; {nearest(str(path), there)}" if there else ""
        raise UsageError(f"{key}={value}: no such folder{hint}")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "TRUE", "YES", "ON"):
        from huggingface_hub.constants import HF_HUB_CACHE

        kind = "models" if key == "task.model" else "datasets"
        if not (Path(HF_HUB_CACHE) / f"{kind}--{value.replace('/', '--')}").is_dir():
            raise UsageError(
                f"{key}={value}: no such folder, and not in the hub's cache (HF_HUB_OFFLINE is set); "
                "fetch it with prefetch=true where there is internet"
            )
