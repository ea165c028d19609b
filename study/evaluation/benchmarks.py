"""Tasks of EleutherAI's lm-evaluation-harness, loaded with their data. Needs the extra `[eval]`."""

from __future__ import annotations

import functools
import logging
from dataclasses import dataclass
from typing import Any

from huggingface_hub.utils import logging as hub_logging
from lm_eval.tasks import TaskManager

from study.errors import UsageError, first_line, nearest


@dataclass(frozen=True)
class Benchmark:
    """A task, or group of tasks, of the harness.

    Attributes:
        name: as the user calls it.
        task: as the harness does.
        metric: which of its metrics.
        loaded: what `TaskManager.load` gave, for `lm_eval.evaluate`; the harness has no type for it.
    """

    name: str
    task: str
    metric: str
    loaded: Any


@functools.cache
def _tasks(include_path: str) -> TaskManager:
    """The index of all tasks, which takes seconds to make."""
    logging.getLogger("lm_eval").setLevel(logging.ERROR)  # it warns of what is meant here: a ready model
    hub_logging.set_verbosity_error()  # it tells of every retry; what fails in the end is one line below
    return TaskManager(include_path=include_path or None)


def load(specs: dict[str, str], include_path: str) -> dict[str, Benchmark]:
    """The benchmarks with their data, zero-shot, by name.

    Args:
        specs: the harness's TASK or TASK:METRIC by name. Without a metric, it is the task's first.
        include_path: folder with further tasks; may be empty.

    Raises:
        UsageError: if there is no such task or metric, or the data is not there.
    """
    return {name: _load(name, spec, _tasks(include_path)) for name, spec in specs.items()}


def _load(name: str, spec: str, tasks: TaskManager) -> Benchmark:
    task, _, metric = spec.partition(":")
    entry = tasks.task_index.get(task)
    if entry is None:
        raise UsageError(f"unknown benchmark {task!r}; {nearest(task, tasks.all_tasks)}")
    if entry.kind.name == "TAG":
        raise UsageError(
            f"benchmark {name} has no score of its own; its tasks: {', '.join(sorted(entry.tags))}"
        )
    try:
        loaded = tasks.load([task])
    except ConnectionError as error:
        why = f"{first_line(error)}; run this once with internet and the same HF_HOME"
        raise UsageError(f"benchmark {name}: its data is not in the cache: {why}") from None
    except Exception as error:
        raise UsageError(f"benchmark {name}: its data cannot be loaded: {first_line(error)}") from None
    for part in loaded["tasks"].values():
        if getattr(part, "UNSAFE_CODE", False) or getattr(part, "MULTIMODAL", False):
            raise UsageError(f"benchmark {name} runs code or shows pictures; this command does neither")
        part.set_config("num_fewshot", 0)
    group = loaded["groups"].get(task)
    if group is None:
        metrics = list(loaded["tasks"][task].aggregation())
    else:
        metrics = [each.metric for each in group.aggregate_metric_list or []]
        if not metrics:
            raise UsageError(
                f"benchmark {name} has no score of its own; its tasks: {', '.join(group.child_names)}"
            )
    if metric and metric not in metrics:
        raise UsageError(f"benchmark {name} has no metric {metric!r}; {nearest(metric, metrics)}")
    return Benchmark(name, task, metric or metrics[0], loaded)
