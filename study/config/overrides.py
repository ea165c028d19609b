"""What the user gives behind a sweep's name, in Hydra's grammar, put into the sweep's configuration.

`a,b,c` on `method` and `lr` replaces the list; on `task.*` and `method.*` it adds an axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from study.config.checks import check_number
from study.config.names import PASSED_ON, check_key
from study.errors import UsageError, first_line

GROUPS = ("task", "scale", "launcher")
"""Overrides that choose a file under sweeps/."""


def parse(overrides: Sequence[str]) -> list[Override]:
    """Reads `key=value` and `key=a,b,c`.

    Raises:
        UsageError: if one cannot be read.
    """
    for text in overrides:
        if "=" not in text:
            raise UsageError(f"{text!r} is not an override; write key=value, such as seeds=3")
    try:
        return OverridesParser.create().parse_overrides(list(overrides))
    except HydraException as error:
        raise UsageError(f"cannot read the overrides: {first_line(error)}") from None


def chosen_files(overrides: list[Override]) -> dict[str, str]:
    """Which task, scale and launcher are chosen, as far as they are.

    Raises:
        UsageError: if one is given several values.
    """
    chosen = {}
    for override in overrides:
        if override.key_or_group in GROUPS:
            if override.is_sweep_override():
                raise UsageError(f"{override.key_or_group} takes one value: it is not an axis of the grid")
            chosen[override.key_or_group] = str(override.value())
    return chosen


def apply(config: DictConfig, override: Override) -> None:
    """Sets the override's value in the sweep's configuration, or makes it an axis of the grid.

    Raises:
        UsageError: for an unknown key, or a value of another type than the key's.
    """
    key = override.key_or_group
    if key in GROUPS:
        return
    values = _values(override)
    if _is_list(config, key):  # task.text_column=review is [review]
        values = [[value] if isinstance(value, str) else value for value in values]
    if key in ("method", "lr"):
        if len(values) == 1 and isinstance(values[0], list):
            values = values[0]
        for rate in values if key == "lr" else []:
            check_number(key, rate)
        set_value(config, "methods" if key == "method" else key, values)
    elif override.is_sweep_override():
        check_key(config, key)
        if not key.startswith(("task.", "method.")):
            raise UsageError(f"{key} takes one value: it is not an axis of the grid")
        with open_dict(config):
            config.axes[key] = values
    else:
        with open_dict(config.axes):
            config.axes.pop(key, None)  # one value takes the place of the sweep's own list
        set_value(config, key, values[0])


def _is_list(config: DictConfig, key: str) -> bool:
    return key.startswith("task.") and isinstance(OmegaConf.select(config, key), ListConfig)


def _values(override: Override) -> list[Any]:
    """What an override gives, whose type only the schema knows: each value of `a,b,c`, or the one."""
    if not override.is_sweep_override():
        return [override.value()]
    return [value.text if isinstance(value, QuotedString) else value for value in override.sweep_iterator()]


def set_value(config: DictConfig, key: str, value: Any) -> None:
    """Sets one key.

    Raises:
        UsageError: for an unknown key, or a value of another type than the key's.
    """
    check_key(config, key)
    try:
        OmegaConf.update(config, key, value, force_add=key.startswith(("method.", PASSED_ON)))
    except (OmegaConfBaseException, ValueError) as error:
        raise UsageError(f"{key}={value}: {first_line(error)}") from None


def choose_points(config: DictConfig, overrides: list[Override]) -> None:
    """An override of what the sweep's points set chooses among them; `lr` replaces theirs.

    Raises:
        UsageError: if no point has what is given.
    """
    for override in overrides:
        key = override.key_or_group
        values_of_points = [point[key] for point in config.points if key in point]
        if key == "lr" or not values_of_points:
            continue
        given = _values(override)
        if not set(values_of_points) & set(given):
            known = ", ".join(str(value) for value in dict.fromkeys(values_of_points))
            raise UsageError(f"{key}={given[0]}: sweep {config.sweep} has {known}")
        config.points = [point for point in config.points if point.get(key, given[0]) in given]
        with open_dict(config.axes):
            config.axes.pop(key, None)
