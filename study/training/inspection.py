"""What a worker understands of a task before anything trains: the model's shape, and the data as they are."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import replace

import torch
from peft import PeftConfig
from torch import nn
from transformers.pytorch_utils import Conv1D

from study import tasks
from study.errors import UsageError, causes, first_line
from study.methods.full import FullConfig
from study.planning.inspection import Fingerprints, Inspection, ModelSummary
from study.planning.jobs import Provenance, TrainJob
from study.planning.origin import changed_packages
from study.planning.runs import PER_RUN, Run, canonical, digest
from study.settings import TaskSettings
from study.tasks import Task
from study.tasks.loading.fingerprint import (
    data_fingerprint,
    judge_fingerprints,
    made_fingerprints,
    model_fingerprint,
    source_fingerprint,
)
from study.tasks.loading.pretrained import skeletons
from study.training.packing import pack
from study.training.passes import base_model

SMALL = 10**8
"""Parameters of a model that is loaded in a moment."""

AWAY = (
    "ConnectionError", "ConnectError", "ConnectTimeout", "LocalEntryNotFoundError", "OfflineModeIsEnabled",
)  # fmt: skip
"""Errors of the libraries that ask the hub, when it does not answer."""


class LoadedTask:
    """Keeps the task that was loaded last, with the fingerprints of what it was made of."""

    def __init__(self) -> None:
        self._key = ""
        self._loaded: tuple[Task, Fingerprints] | None = None

    def load(self, settings: TaskSettings) -> tuple[Task, Fingerprints]:
        """The task as these settings describe it.

        Raises:
            UsageError: from the task, or if its data or judges changed while they were read.
        """
        key = digest(canonical(settings, leave_out=PER_RUN))
        if self._loaded is None or self._key != key:
            self._loaded = None
            before = Fingerprints(source_fingerprint(settings), judges=judge_fingerprints(settings))
            task = tasks.load(settings)
            now = fingerprints(task)
            for name in now.changed(before):
                raise UsageError(
                    f"task.{name}={getattr(settings, name)} changed while it was read; run it again"
                )
            self._loaded, self._key = (task, now), key
        return self._loaded


def fingerprints(task: Task) -> Fingerprints:
    """Of the task's data, base model and judges as they are now."""
    return Fingerprints(data_fingerprint(task), model_fingerprint(task), made_fingerprints(task))


def inspection(
    task: Task,
    found: Fingerprints,
    runs: Sequence[Run],
    config_of: Callable[[Run, Task, nn.Module], PeftConfig],
) -> Inspection:
    """What there is to say of a task before anything trains. Weights are loaded of small models at most.

    Args:
        found: the task's fingerprints.
        runs: a run for each way of adapting its model.
        config_of: the method of a run, aimed at the layers of the model.

    Raises:
        UsageError: from the task, or if a method does not fit the model.
        ValueError, TypeError: from the task's model.
    """
    model = _skeleton(task)
    size = sum(weight.numel() for weight in model.parameters())
    parameters, targets, finetuned = [], set[str](), set[str]()
    for run in runs:
        try:
            config = config_of(run, task, model)
            if isinstance(config, FullConfig):
                finetuned |= set(config.target_modules or ["all of it"])
            else:
                targets |= set(config.target_modules or ())  # type: ignore[attr-defined]
            count = parameter_count(model, config)
            if count is None:
                model = _skeleton(task)  # it may have been left half adapted
                if size <= SMALL:
                    count = parameter_count(base_model(task, torch.device("cpu")), config)
        except (ValueError, TypeError) as error:
            raise UsageError(f"method {run.method}: {first_line(error)}") from error
        parameters.append(count)
    summary = replace(_summary(task, model, size, targets), finetuned=tuple(sorted(finetuned)))
    data = task.data_summary()
    data = replace(data, notes=(*data.notes, *task.training_set.notes))
    return Inspection(found, data, summary, tuple(parameters))


def _skeleton(task: Task) -> nn.Module:
    with skeletons():
        return base_model(task, torch.device("meta"))


def _summary(task: Task, model: nn.Module, size: int, target_modules: Set[str]) -> ModelSummary:
    adapted: dict[str, int] = {}
    head = []
    for name, module in model.named_modules():
        named_by = [entry for entry in target_modules if name == entry or name.endswith(f".{entry}")]
        if named_by:  # `output.dense` names what `attention.output.dense` does, too
            entry = max(named_by, key=len)
            adapted[entry] = adapted.get(entry, 0) + 1
        elif isinstance(module, nn.Linear | Conv1D) and not any(part.isdigit() for part in name.split(".")):
            head.append(name)  # blocks are numbered
    named = tuple(task.head_modules) or tuple(head)
    return ModelSummary(type(model).__name__, size, adapted, named, task.settings.trains_head)


def parameter_count(model: nn.Module, config: PeftConfig) -> int | None:
    """Trained numbers of one run, as the paper counts them; None where a method needs the weights to tell.

    Args:
        model: the base model, on any device, the meta device too; after None it is spoilt.

    Raises:
        UsageError, ValueError, TypeError: from the method, if it does not fit the model.
    """
    try:
        packed, _ = pack(model, config, [0])
    except RuntimeError:  # no numbers without weights: an initialisation that is made of them
        return None
    packed.close()
    return packed.parameter_count


def is_out_of_reach(error: BaseException) -> bool:
    """Whether it comes from asking a hub that does not answer, or that nobody may ask."""
    return any(
        any(kind.__name__ in AWAY for kind in type(each).__mro__) or "couldn't connect" in str(each).lower()
        for each in causes(error)
    )


def why_changed(job: TrainJob, now: Fingerprints, here: Provenance) -> str:
    """What is not as it was when the job was planned: a checkpoint, data, packages; empty if all is.

    Args:
        now: of the task as this worker loaded it.
        here: what this worker is.
    """
    settings = job.runs[0].task
    if changed := now.changed(job.fingerprints):
        name = changed[0]
        was, found = (prints.by_setting()[name] for prints in (job.fingerprints, now))
        return (
            f"task.{name}={getattr(settings, name)} is not what the study began with: was {was}, is {found}"
        )
    changes = changed_packages(job.provenance.versions, here.versions)
    return f"other versions than the study was planned with: {', '.join(changes)}" if changes else ""
