"""From `lr_grid method=ether,lora lr=1e-3,1e-2 task.steps=100` to a checked, typed configuration.

Sweeps and tasks are YAML files under `sweeps/`, composed by Hydra. Nothing here imports torch, so that
`--help` and dry runs answer at once.
"""

from __future__ import annotations

import copy
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from study.config import grammar, names, overrides, own_data
from study.config.checks import check, check_rate
from study.config.space import check_space
from study.errors import UsageError, first_line
from study.naming import study_name
from study.settings import SweepSettings, is_axis


def load(sweep: str, given: list[str]) -> SweepSettings:
    """The sweep's settings with the given overrides applied and every value checked.

    Raises:
        UsageError: for an unknown sweep, task, scale, method, option or key, and for bad values.
    """
    sweep = names.sweep_name(sweep)
    parsed = grammar.parse(given)
    config, as_written = _compose(sweep, overrides.chosen_files(parsed))
    for override in parsed:
        overrides.apply(config, override)
    overrides.settle_seeds(config, parsed)
    overrides.choose_points(config, parsed)
    own_data.settle(config, {override.key for override in parsed})
    for method in config.methods:
        names.check_method(method)
    overrides.check_reach(config, parsed)
    if OmegaConf.is_missing(config, "name"):
        config.name = _default_name(config, as_written)
    _check_grid_values(config)
    try:
        settings = OmegaConf.to_object(config)
    except OmegaConfBaseException as error:
        raise UsageError(f"sweep {sweep}: {first_line(error)}") from None
    assert isinstance(settings, SweepSettings)
    for method, options in settings.method.items():
        for option, value in options.items():
            names.check_value(method, option, value)
    check_space(config, settings, {override.key: override.text for override in parsed})
    check(settings)
    return settings


def as_yaml(settings: SweepSettings) -> str:
    """The settings as the YAML of a sweep, which as sweeps/NAME.yaml makes the same runs."""
    return OmegaConf.to_yaml(OmegaConf.structured(settings))


def _check_grid_values(config: DictConfig) -> None:
    """The schema knows nothing of axes and points: each of their values must be one that the key can take.

    Raises:
        UsageError: for an unknown key or one that is no axis, or a value of another type than the key's.
    """
    scratch = copy.deepcopy(config)
    values = [(key, value) for key, axis in config.axes.items() for value in axis]
    values += [(key, value) for point in config.points for key, value in point.items()]
    for key, value in values:
        if key in ("method", "lr"):
            continue
        overrides.set_value(scratch, str(key), value)
        if not is_axis(str(key)):
            raise UsageError(f"{key} takes one value: it is not an axis of the grid")
        if str(key).startswith("method."):
            _, method, option = str(key).split(".", 2)
            names.check_value(method, option, value)


def _compose(sweep: str, chosen: dict[str, str]) -> tuple[DictConfig, DictConfig]:
    """The YAML of the sweep with the chosen task, over the typed schema; and the sweep as it is written.

    Args:
        chosen: names of files under sweeps/ for `task`, `scale` and `launcher`, as far as they are given.
    """
    folders = names.sweep_folders()
    folder = next(f for f in folders if (f / f"{sweep}.yaml").exists())
    hydra_overrides = [f"hydra.searchpath=[{','.join(f.resolve().as_uri() for f in folders)}]"]
    if "launcher" in chosen:
        names.check_launcher(chosen["launcher"])
        hydra_overrides.append(f"launcher={chosen['launcher']}")
    try:
        with initialize_config_dir(config_dir=str(folder.resolve()), version_base="1.3"):
            composed = as_written = compose(sweep, overrides=hydra_overrides)
            if "task" in chosen or "scale" in chosen:
                task = chosen.get("task", as_written.task.name)
                scale = chosen.get("scale", "mini" if "task" in chosen else as_written.task.scale)
                names.check_task(task, scale)
                composed = compose(sweep, overrides=[*hydra_overrides, f"task={task}/{scale}"])
        for rate in composed.get("lr", []):
            check_rate(rate)
        if isinstance(composed.get("seeds"), ListConfig):  # `seeds: [3, 7]` names them
            with open_dict(composed):
                composed.seed, composed.seeds = composed.seeds, SweepSettings.seeds
        config = OmegaConf.merge(OmegaConf.structured(SweepSettings), composed)
    except (HydraException, OmegaConfBaseException) as error:
        raise UsageError(f"sweeps/{sweep}.yaml: {first_line(error)}") from None
    assert isinstance(config, DictConfig)
    config.sweep = sweep
    return config, as_written


def _default_name(config: DictConfig, as_written: DictConfig) -> str:
    """The sweep's name; where its task was changed, that too: lr_grid_glue_rte_paper."""

    def described(c: DictConfig) -> list[Any]:
        return [
            c.task.get("name"),
            c.task.get("scale"),
            c.get("axes", {}).get("task.subset", c.task.get("subset")),
        ]

    if described(config) == described(as_written):
        return str(config.sweep)
    task = config.task
    subset = None if "task.subset" in config.axes else task.subset
    return study_name(config.sweep, task.name, subset, task.scale)
