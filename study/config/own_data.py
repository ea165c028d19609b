"""What follows from data of the user's own: none of the subsets of the task's data, and new classes."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from study.paths import SWEEPS

ALSO_GLUE = "glue"
"""Another name of nyu-mll/glue on the hub."""


def settle(config: DictConfig, given: Collection[str]) -> None:
    """Sets what own data needs and the user has not given: no subset, and a head to be trained where
    `scale=paper` trains one.

    Args:
        config: a sweep's, with the overrides applied.
        given: the keys of the overrides.
    """
    if "task.data" not in given:
        return
    files = sorted((SWEEPS / "task" / config.task.name).glob("*.yaml"))
    scales: dict[str, Any] = {path.stem: OmegaConf.to_container(OmegaConf.load(path)) for path in files}
    of_the_task = {ALSO_GLUE, *(scale.get("data") for scale in scales.values())}
    values: list[Any] = config.axes.get("task.data") or [config.task.data]
    if of_the_task & set(values):
        return
    if "task.subset" not in given:
        config.task.subset = None
        with open_dict(config.axes):
            config.axes.pop("task.subset", None)
    if config.task.head_lr is None and "task.head_lr" not in given:
        config.task.head_lr = scales.get("paper", {}).get("head_lr")
