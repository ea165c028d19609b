"""From `lr_grid method=ether,lora lr=1e-3,1e-2 task.steps=100` to a checked, typed configuration.

Sweeps and tasks are YAML files under `sweeps/`, composed by Hydra; overrides follow Hydra's grammar.
`a,b,c` on `method` and `lr` replaces the list; on any other key it adds an axis to the grid. Nothing
here imports torch, so that `--help` and dry runs answer at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import MISSING, DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from study import methods, tasks
from study.errors import UsageError, first_line, nearest

SWEEPS = Path(__file__).parent.parent / "sweeps"


@dataclass
class TaskSettings:
    """One task at one scale: base model, data, and how a run trains on it."""

    name: str = MISSING
    scale: str = "mini"
    model: str = MISSING  # hub name, local path, or `shipped`
    data: str = MISSING  # a data set's hub name, a local path, or the task's own
    target_modules: list[str] = field(default_factory=list)
    steps: int = MISSING
    batch_size: int = MISSING
    eval_batch_size: int = 256
    evaluations: int = 6  # points after step 0 at which score and geometry are measured
    weight_decay: float = 0.0
    warmup_steps: int = 0  # linear; then cosine to zero
    clip: float | None = None  # largest norm of one run's gradient
    precision: str = "float32"  # float32 | bfloat16
    head_lr: float | None = None  # fixed rate of a trained head; null: the head stays frozen
    noise: float = 0.0  # size of a random move of the adapter before training (steps=0: instead of it)


@dataclass
class LauncherSettings:
    """How jobs are run on this machine."""

    name: str = "local"
    workers: int | None = None  # processes; null: one per core, or one per GPU
    device: str | None = None  # cpu | cuda; null: cuda if there is one


@dataclass
class SweepSettings:
    """A whole study: which runs, on what, launched how, kept where."""

    sweep: str = MISSING
    name: str = MISSING  # folder under `results`; the sweep's own name by default
    methods: list[str] = field(default_factory=list)
    lr: list[float] = field(default_factory=list)
    seeds: int = 5
    axes: dict[str, list[Any]] = field(default_factory=dict)
    method: dict[str, dict[str, Any]] = field(default_factory=dict)
    task: TaskSettings = field(default_factory=TaskSettings)
    launcher: LauncherSettings = field(default_factory=LauncherSettings)
    pack_size: int | None = None  # runs trained together; null: found by a probe
    results: str = "results"
    dry_run: bool = False
    retry: str | None = None  # `failed`: repeat the runs that failed
    report: bool = True  # draw the learning-rate report at the end


def sweep_folders() -> list[Path]:
    """Where sweeps are looked for: `sweeps/` of the working folder, then the project's own."""
    local = Path.cwd() / "sweeps"
    return [local, SWEEPS] if local.is_dir() and local.resolve() != SWEEPS.resolve() else [SWEEPS]


def sweep_names() -> list[str]:
    found = {p.stem for folder in sweep_folders() for p in folder.glob("*.yaml")}
    return sorted(found - {"base"})


def load(sweep: str, overrides: list[str]) -> SweepSettings:
    """The sweep's settings with the overrides applied and every value checked.

    Raises:
        UsageError: for an unknown sweep, task, scale, method, option or key, and for bad values.
    """
    if sweep not in sweep_names():
        raise UsageError(f"unknown sweep {sweep!r}; {nearest(sweep, sweep_names())}")
    parsed = _parse(overrides)
    config = _compose(sweep, parsed)
    for override in parsed:
        _apply(config, override)
    try:
        settings = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UsageError(f"sweep {sweep}: {first_line(error)}") from None
    assert isinstance(settings, SweepSettings)
    _check(settings)
    return settings


def _parse(overrides: list[str]) -> list[Override]:
    for text in overrides:
        if "=" not in text:
            raise UsageError(f"{text!r} is not an override; write key=value, such as seeds=3")
    try:
        return OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise UsageError(f"cannot read the overrides: {first_line(error)}") from None


def _compose(sweep: str, overrides: list[Override]) -> DictConfig:
    """The YAML of the sweep with the chosen task, over the typed schema."""
    choice = {o.key_or_group: str(o.value()) for o in overrides if o.key_or_group in ("task", "scale")}
    folder = next(f for f in sweep_folders() if (f / f"{sweep}.yaml").exists())
    search = f"hydra.searchpath=[{SWEEPS.as_uri()}]"
    try:
        with initialize_config_dir(config_dir=str(folder.resolve()), version_base="1.3"):
            plain = compose(sweep, overrides=[search])
            if choice:
                task = choice.get("task", plain.task.name)
                scale = choice.get("scale", plain.task.scale if "task" not in choice else "mini")
                _check_task(task, scale)
                plain = compose(sweep, overrides=[search, f"task={task}/{scale}"])
        config = OmegaConf.merge(OmegaConf.structured(SweepSettings), plain)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(f"sweeps/{sweep}.yaml: {first_line(error)}") from None
    assert isinstance(config, DictConfig)
    config.sweep = sweep
    if OmegaConf.is_missing(config, "name"):
        config.name = sweep
    return config


def _check_task(task: str, scale: str) -> None:
    if task not in tasks.names():
        raise UsageError(f"unknown task {task!r}; {nearest(task, tasks.names())}")
    scales = sorted(p.stem for p in (SWEEPS / "task" / task).glob("*.yaml"))
    if scale not in scales:
        raise UsageError(f"task {task} has no scale {scale!r}; known: {', '.join(scales)}")


def _apply(config: DictConfig, override: Override) -> None:
    key = override.key_or_group
    if key in ("task", "scale"):
        return
    value = list(override.sweep_iterator()) if override.is_sweep_override() else override.value()
    if key in ("method", "lr"):
        key = "methods" if key == "method" else key
        value = value if isinstance(value, list) else [value]
    elif override.is_sweep_override():
        _check_key(config, key)
        with open_dict(config):
            config.axes[key] = value
        return
    _check_key(config, key)
    try:
        OmegaConf.update(config, key, value, force_add=key.startswith("method."))
    except (OmegaConfBaseException, ValueError) as error:
        raise UsageError(f"{key}={value}: {first_line(error)}") from None


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key in config:
        inner = None if OmegaConf.is_missing(config, key) else config._get_node(str(key))
        if isinstance(inner, DictConfig) and key not in ("method", "axes"):
            keys += _keys(inner, f"{prefix}{key!s}.")
        else:
            keys.append(f"{prefix}{key!s}")
    return keys


def _check_key(config: DictConfig, key: str) -> None:
    if key.startswith("method."):
        _, method, *option = key.split(".")
        _check_option(method, ".".join(option))
    elif key not in _keys(config):
        raise UsageError(f"unknown key {key!r}; {nearest(key, [*_keys(config), 'method', 'scale'])}")


def _check_option(method: str, option: str) -> None:
    known = methods.options(_checked_method(method))
    if option not in known:
        raise UsageError(f"method {method} has no option {option!r}; {nearest(option, known)}")


def _checked_method(method: str) -> str:
    if method not in methods.names():
        raise UsageError(f"unknown method {method!r}; {nearest(method, methods.names())}")
    return method


def _check(s: SweepSettings) -> None:
    for method in s.methods:
        _checked_method(method)
    for method, options in s.method.items():
        for option in options:
            _check_option(method, option)
    axes: dict[str, list[Any]] = {"method": s.methods, "lr": s.lr, **s.axes}
    for key, values in axes.items():
        if not values:
            raise UsageError(f"{key} is empty; give at least one")
        if repeated := [v for i, v in enumerate(values) if v in values[:i]]:
            raise UsageError(f"{key} repeats {repeated[0]}; give each value once")
    for lr in s.lr:
        if not (math.isfinite(lr) and lr > 0):
            raise UsageError(f"lr={lr} is not a learning rate; give positive, finite numbers")
    positive = {
        "seeds": s.seeds,
        "task.batch_size": s.task.batch_size,
        "task.eval_batch_size": s.task.eval_batch_size,
        "task.evaluations": s.task.evaluations,
        "pack_size": s.pack_size,
        "launcher.workers": s.launcher.workers,
        "task.head_lr": s.task.head_lr,
        "task.clip": s.task.clip,
    }
    for key, number in positive.items():
        if number is not None and not (math.isfinite(number) and number > 0):
            raise UsageError(f"{key}={number} must be positive")
    for key in ("steps", "weight_decay", "warmup_steps", "noise"):
        number = getattr(s.task, key)
        if not (math.isfinite(number) and number >= 0):
            raise UsageError(f"task.{key}={number} must be zero or more")
    choices: dict[str, tuple[Any, tuple[Any, ...]]] = {
        "task.precision": (s.task.precision, ("float32", "bfloat16")),
        "launcher.device": (s.launcher.device, (None, "cpu", "cuda")),
        "launcher.name": (s.launcher.name, ("local",)),
        "retry": (s.retry, (None, "failed")),
    }
    for key, (value, allowed) in choices.items():
        if value not in allowed:
            words = ", ".join(str(a) for a in allowed if a is not None)
            raise UsageError(f"{key}={value} is not one of: {words}")
    if Path(s.name).name != s.name or s.name.startswith("."):
        raise UsageError(f"name={s.name} is not a folder's name; give one without slashes")
