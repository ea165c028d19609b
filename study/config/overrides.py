"""What the user gives behind a sweep's name, put into the sweep's configuration.

`a,b,c` on `method` and `lr` replaces the list; on `task.*` and `method.*` it adds an axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from study.config.checks import check_rate
from study.config.grammar import Override
from study.config.names import PASSED_ON, check_key, task_reads
from study.errors import UsageError, first_line
from study.planning.space import RANGES
from study.settings import is_axis

FILES = ("task", "scale", "launcher")
"""Overrides that choose a file under sweeps/."""

LISTS = {"method": "methods", "lr": "lr", "seed": "seed"}
"""Overrides that take the place of a list, by where that is."""

ELSEWHERE = {
    "sweep": "the sweep is what the command's first word names",
    "axes": "write the setting itself with several values, such as task.steps=50,100",
    "points": "points are written in a sweep's file",
    "space": "write the setting itself with a range or choices, such as lr={log:[1e-4,1]}",
    "task.name": "write task=NAME",
    "task.scale": "write scale=mini or scale=paper",
    "launcher.name": "write launcher=NAME",
}
"""Keys of the configuration that are not set under their own name."""


def chosen_files(overrides: list[Override]) -> dict[str, str]:
    """Which task, scale and launcher are chosen, as far as they are.

    Raises:
        UsageError: if one is given several values.
    """
    chosen = {}
    for override in overrides:
        if override.key in FILES:
            if override.several:
                raise UsageError(f"{override.key} takes one value: it is not an axis of the grid")
            chosen[override.key] = str(override.values[0])
    return chosen


def apply(config: DictConfig, override: Override) -> None:
    """Sets the override's value in the sweep's configuration, or makes it an axis of the grid.

    Raises:
        UsageError: for an unknown key, or a value of another type than the key's.
    """
    key, values = override.key, list(override.values)
    if key in FILES:
        return
    if key.startswith("hydra."):
        raise UsageError(f"{override.text}: Hydra's own settings do nothing here")
    group = key.partition(".")[0]
    if hint := ELSEWHERE.get(group if group in ("axes", "space") else key):
        raise UsageError(f"{override.text}: {hint}")
    if _vary(config, override):
        return
    if key in LISTS or (key == "seeds" and isinstance(values[0], list) and not override.several):
        _replace_list(config, override)
    elif override.several:
        check_key(config, key)
        if not is_axis(key):
            raise UsageError(f"{key} takes one value: it is not an axis of the grid")
        if _takes_list(config, key):
            if not any(isinstance(value, list) for value in values):
                raise UsageError(
                    f"{override.text}: give a list, such as {key}=[{','.join(map(str, values))}]"
                )
            values = [value if isinstance(value, list) else [value] for value in values]
        with open_dict(config):
            config.axes[key] = values
    else:
        with open_dict(config.axes):
            config.axes.pop(key, None)  # one value takes the place of the sweep's own list
        set_value(config, key, values[0])


def _is_range(value: Any) -> bool:
    """Whether a value is a range of a space, and not a mapping that an option takes."""
    return isinstance(value, Mapping) and len(value) == 1 and set(value) <= set(RANGES)


def _vary(config: DictConfig, override: Override) -> bool:
    """Puts an override into the sweep's space: a range or choices; one value takes the key out of it.

    Returns:
        Whether that is all there is to do.

    Raises:
        UsageError: for a range where there is no space.
    """
    key, values = override.key, list(override.values)
    ranges = [value for value in values if _is_range(value)]
    if not config.space:
        if ranges:
            raise UsageError(
                f"{override.text}: sweep {config.sweep} is a grid; ranges are for a space: study.sweep space"
            )
        return False
    if not (key == "lr" or (is_axis(key) and key.startswith(("task.", "method.")))):
        return False
    if len(values) == 1 and isinstance(values[0], list) and key == "lr":
        values = values[0]
    if not ranges and len(values) == 1:
        with open_dict(config.space):
            config.space.pop(key, None)
        return False
    check_key(config, key)
    if ranges and len(values) > 1:
        raise UsageError(f"{override.text}: give one range, or choices")
    with open_dict(config.space):
        config.space[key] = ranges[0] if ranges else values
    return True


def _replace_list(config: DictConfig, override: Override) -> None:
    """`method`, `lr` or `seed`, as `a,b` or as `[a,b]`; `seeds=[3,7]` names seeds, too."""
    values = list(override.values)
    if len(values) == 1 and isinstance(values[0], list):
        values = values[0]
    for value in values:
        if override.key == "lr":
            check_rate(value)
        elif override.key == "method" and not isinstance(value, str):
            raise UsageError(f"{override.text}: name methods, such as method=ether,lora")
        elif override.key in ("seed", "seeds") and (not isinstance(value, int) or isinstance(value, bool)):
            raise UsageError(f"{override.text}: a seed is a whole number, as in seed=3,7")
    if not values and override.key in ("seed", "seeds"):
        raise UsageError(f"{override.text}: it is empty; give at least one")
    set_value(config, LISTS.get(override.key, "seed"), values)


def _takes_list(config: DictConfig, key: str) -> bool:
    """Whether the schema has a list under this key; what a method's option takes is not in it."""
    return not key.startswith("method.") and isinstance(OmegaConf.select(config, key), ListConfig)


def set_value(config: DictConfig, key: str, value: Any) -> None:
    """Sets one key.

    Raises:
        UsageError: for an unknown key, or a value of another type than the key's.
    """
    check_key(config, key)
    if _takes_list(config, key) and isinstance(value, str):
        value = [value]  # task.target_modules=q_proj can mean nothing else
    try:
        OmegaConf.update(config, key, value, force_add=key.startswith(("method.", PASSED_ON)))
    except (OmegaConfBaseException, ValueError, TypeError, AttributeError) as error:
        if value is None:
            raise UsageError(f"{key}=null: it needs a value") from None
        several = isinstance(value, list) and value and is_axis(key)
        hint = f"; for several values write {key}={','.join(map(str, value))}" if several else ""
        raise UsageError(f"{key}={value}: {first_line(error)}{hint}") from None


def settle_seeds(config: DictConfig, overrides: list[Override]) -> None:
    """How many seeds, given on the command line, goes before which ones, written in the sweep's file.

    Raises:
        UsageError: if both are given.
    """
    given = {override.key: override for override in overrides}
    count = given.get("seeds")
    if count is None or isinstance(count.values[0], list):
        return
    if "seed" in given:
        raise UsageError(f"{count.text} and {given['seed'].text}: give one, how many seeds or which")
    config.seed = []


def choose_points(config: DictConfig, overrides: list[Override]) -> None:
    """An override of what the sweep's points set chooses among them; `lr` replaces theirs.

    Points that do not set what is chosen are there once for each value that is given.

    Raises:
        UsageError: if no point has what is given.
    """
    points: list[dict[str, Any]] = OmegaConf.to_container(config.points)  # type: ignore[assignment]
    for override in overrides:
        key = override.key
        values_of_points = [point[key] for point in points if key in point]
        if not values_of_points:
            continue
        if key == "lr":
            points = _distinct([{k: v for k, v in point.items() if k != "lr"} for point in points])
            continue
        given = list(override.values)
        if len(given) == 1 and isinstance(given[0], list):
            given = given[0]
        if absent := [value for value in given if value not in values_of_points]:
            known = ", ".join(str(value) for value in dict.fromkeys(values_of_points))
            raise UsageError(f"{key}={absent[0]}: sweep {config.sweep} has {known}")
        spread = [point if key in point else point | {key: value} for point in points for value in given]
        points = _distinct([point for point in spread if point[key] in given])
        with open_dict(config.axes):
            config.axes.pop(key, None)
    config.points = points


def _distinct(points: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [point for i, point in enumerate(points) if point not in points[:i]]


def check_reach(config: DictConfig, overrides: list[Override]) -> None:
    """Refuses an option of a method that has no run in the study, and a setting that its task does not read.

    Raises:
        UsageError: naming the methods that have runs.
    """
    of_points = {point.get("method") for point in config.points}
    chosen = [m for m in config.methods if not of_points or {m, None} & of_points]
    for override in overrides:
        first, _, rest = override.key.partition(".")
        method = rest.partition(".")[0]
        if first == "method" and rest and method not in chosen:
            raise UsageError(f"{override.text} reaches no run: the methods are {', '.join(chosen)}")
        if first == "task" and override.values != (None,) and not task_reads(config.task.name, rest):
            raise UsageError(f"{override.text} reaches no run: task {config.task.name} does not read it")
