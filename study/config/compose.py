"""From `lr_grid method=ether,lora lr=1e-3,1e-2 task.steps=100` to a checked, typed configuration.

Sweeps and tasks are YAML files under `sweeps/`, composed by Hydra; overrides follow Hydra's grammar.
`a,b,c` on `method` and `lr` replaces the list; on any other key it adds an axis to the grid. Nothing
here imports torch, so that `--help` and dry runs answer at once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from study import methods, tasks
from study.config.checks import check, check_number
from study.errors import UsageError, first_line, nearest
from study.paths import SWEEPS
from study.settings import SweepSettings

GROUPS = ("task", "scale", "launcher")
"""Overrides that choose a file under sweeps/."""

FREE = "launcher.additional_parameters."
"""Keys that are passed on as they are."""


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
    config, own = _compose(sweep, parsed)
    for override in parsed:
        _apply(config, override)
    _choose_points(config, parsed)
    if OmegaConf.is_missing(config, "name"):
        config.name = _default_name(config, own)
    try:
        settings = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UsageError(f"sweep {sweep}: {first_line(error)}") from None
    assert isinstance(settings, SweepSettings)
    for method in settings.methods:
        _checked_method(method)
    for key in {key for point in settings.points for key in point} - {"method", "lr"}:
        _check_key(config, key)
    for method, options in settings.method.items():
        for option in options:
            _check_option(method, option)
    check(settings)
    return settings


def _parse(overrides: list[str]) -> list[Override]:
    for text in overrides:
        if "=" not in text:
            raise UsageError(f"{text!r} is not an override; write key=value, such as seeds=3")
    try:
        return OverridesParser.create().parse_overrides(overrides)
    except HydraException as error:
        raise UsageError(f"cannot read the overrides: {first_line(error)}") from None


def _compose(sweep: str, overrides: list[Override]) -> tuple[DictConfig, DictConfig]:
    """The YAML of the sweep with the chosen task, over the typed schema; and the sweep as it is written."""
    choice = {}
    for override in overrides:
        if override.key_or_group in GROUPS:
            if override.is_sweep_override():
                raise UsageError(f"{override.key_or_group} takes one value: it is not an axis of the grid")
            choice[override.key_or_group] = str(override.value())
    launcher = choice.pop("launcher", None)
    folder = next(f for f in sweep_folders() if (f / f"{sweep}.yaml").exists())
    chosen = [f"hydra.searchpath=[{','.join(f.resolve().as_uri() for f in sweep_folders())}]"]
    if launcher is not None:
        _check_launcher(launcher)
        chosen.append(f"launcher={launcher}")
    try:
        with initialize_config_dir(config_dir=str(folder.resolve()), version_base="1.3"):
            plain = compose(sweep, overrides=chosen)
            own = plain
            if choice:
                task = choice.get("task", plain.task.name)
                scale = choice.get("scale", plain.task.scale if "task" not in choice else "mini")
                _check_task(task, scale)
                plain = compose(sweep, overrides=[*chosen, f"task={task}/{scale}"])
        for rate in plain.get("lr", []):
            check_number("lr", rate)
        config = OmegaConf.merge(OmegaConf.structured(SweepSettings), plain)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(f"sweeps/{sweep}.yaml: {first_line(error)}") from None
    assert isinstance(config, DictConfig)
    config.sweep = sweep
    return config, own


def _default_name(config: DictConfig, own: DictConfig) -> str:
    """The sweep's name; where its task was changed, that too: lr_grid_glue_rte_paper."""

    def described(c: DictConfig) -> list[Any]:
        return [
            c.task.get("name"),
            c.task.get("scale"),
            c.get("axes", {}).get("task.subset", c.task.get("subset")),
        ]

    if described(config) == described(own):
        return str(config.sweep)
    task = config.task
    subset = None if "task.subset" in config.axes else task.subset
    scale = task.scale if task.scale != "mini" else None
    return "_".join(str(part) for part in (config.sweep, task.name, subset, scale) if part)


def _choose_points(config: DictConfig, overrides: list[Override]) -> None:
    """An override of what the sweep's points set chooses among them; `lr` replaces theirs.

    Raises:
        UsageError: if no point has what is given.
    """
    for override in overrides:
        key = override.key_or_group
        fixed = [point[key] for point in config.points if key in point]
        if key == "lr" or not fixed:
            continue
        given = list(override.sweep_iterator()) if override.is_sweep_override() else [override.value()]
        if not set(fixed) & set(given):
            known = ", ".join(str(value) for value in dict.fromkeys(fixed))
            raise UsageError(f"{key}={given[0]}: sweep {config.sweep} has {known}")
        config.points = [point for point in config.points if point.get(key, given[0]) in given]
        with open_dict(config.axes):
            config.axes.pop(key, None)


def _check_task(task: str, scale: str) -> None:
    if task not in tasks.names():
        raise UsageError(f"unknown task {task!r}; {nearest(task, tasks.names())}")
    scales = sorted(p.stem for p in (SWEEPS / "task" / task).glob("*.yaml"))
    if scale not in scales:
        raise UsageError(f"task {task} has no scale {scale!r}; known: {', '.join(scales)}")


def launcher_names() -> list[str]:
    return sorted(
        {p.stem for folder in sweep_folders() for p in (folder / "launcher").glob("*.yaml")}
        | {p.stem for p in (SWEEPS / "launcher").glob("*.yaml")}
    )


def _check_launcher(launcher: str) -> None:
    if launcher not in launcher_names():
        raise UsageError(f"unknown launcher {launcher!r}; {nearest(launcher, launcher_names())}")


def _apply(config: DictConfig, override: Override) -> None:
    key = override.key_or_group
    if key in GROUPS:
        return
    value = list(override.sweep_iterator()) if override.is_sweep_override() else override.value()
    if key in ("method", "lr"):
        key = "methods" if key == "method" else key
        value = value if isinstance(value, list) else [value]
        if key == "lr":
            for rate in value:
                check_number(key, rate)
    elif override.is_sweep_override():
        _check_key(config, key)
        if key.startswith(("launcher.", "seeds", "results", "name")):
            raise UsageError(f"{key} takes one value: it is not an axis of the grid")
        with open_dict(config):
            config.axes[key] = value
        return
    _check_key(config, key)
    with open_dict(config.axes):
        config.axes.pop(key, None)  # one value takes the place of the sweep's own list
    try:
        OmegaConf.update(config, key, value, force_add=key.startswith(("method.", FREE)))
    except (OmegaConfBaseException, ValueError) as error:
        raise UsageError(f"{key}={value}: {first_line(error)}") from None


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    keys = []
    for key in config:
        inner = None if OmegaConf.is_missing(config, key) else config._get_node(str(key))
        if isinstance(inner, DictConfig) and key not in ("method", "axes", "additional_parameters"):
            keys += _keys(inner, f"{prefix}{key!s}.")
        else:
            keys.append(f"{prefix}{key!s}")
    return keys


def _check_key(config: DictConfig, key: str) -> None:
    if key.startswith(FREE):
        return
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
