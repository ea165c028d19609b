"""A task's model at work for the runs of a pack: forward to their scores, backward to their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from study.errors import UsageError, first_line
from study.settings import TaskSettings
from study.tasks import SPLITS, Batch, Task
from study.training.frozen_base import evaluation_mode
from study.training.packing import PackedModel, RunParameters, checkpoint_contexts
from study.training.randomness import RunStreams, seeded


def base_model(task: Task, device: torch.device) -> nn.Module:
    """A fresh base model of the task as its runs train on it: on the device, in the task's precision.

    Raises:
        UsageError: from the task, or if the model knows no gradient checkpointing that is asked for.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)  # a head that the checkpoint lacks is the same in every worker
        model = task.model()
    model = model.to(device)
    if task.settings.precision == "bfloat16":
        for weight in model.parameters():  # not the buffers: rotary frequencies need their digits
            weight.data = weight.data.to(torch.bfloat16)
    if task.settings.gradient_checkpointing:
        try:
            how = {"use_reentrant": False, "context_fn": checkpoint_contexts}
            model.activation_checkpointing_enable(how)  # type: ignore[operator]
            model.disable_input_require_grads()  # type: ignore[operator]
        except (AttributeError, ValueError) as error:
            raise UsageError(f"task.gradient_checkpointing=true: {first_line(error)}") from None
    return model


def stack_runs(task: Task, batches: Sequence[Batch], device: torch.device) -> Batch:
    """One batch per run, (batch, ...) each, as one batch with the runs leading: (runs * batch, ...)."""
    return {name: value.to(device) for name, value in task.collate(batches).items()}


def autocast(settings: TaskSettings, device: torch.device) -> AbstractContextManager[Any]:
    """Where a forward runs in the task's precision."""
    if device.type == "meta":  # knows none; what is counted there is a little more for it
        return nullcontext()
    enabled = settings.precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


@torch.no_grad()
def evaluate(task: Task, model: nn.Module, split: str) -> tuple[list[float], list[float]]:
    """Primary metric and mean loss of a model on all of a split, as of one run: a list of one each."""
    device = next(model.parameters()).device
    streams = RunStreams([0], device)
    return _evaluate(task, model, split, streams, device, lambda batch: task.forward(model, batch))


@torch.no_grad()
def evaluate_runs(
    task: Task, packed: PackedModel, flat: Tensor, split: str
) -> tuple[list[float], list[float]]:
    """Primary metric and mean loss on all of a split, of every run.

    Args:
        flat: the runs' parameters, (runs, num_params).
    """

    def forward(batch: Batch) -> Tensor:
        return packed(flat, task.forward, batch)

    return _evaluate(task, packed.base, split, packed.streams, packed.device, forward)


def _evaluate(
    task: Task,
    model: nn.Module,
    split: str,
    streams: RunStreams,
    device: torch.device,
    forward: Callable[[Batch], Tensor],
) -> tuple[list[float], list[float]]:
    """Every run on the same batches, with `model`, that `forward` uses, in evaluation mode."""
    predictions, losses, references = [], [], []
    with evaluation_mode(model), seeded(SPLITS.index(split)):  # for what a task draws to make its batches
        for number, batch in enumerate(task.batches(split)):
            stacked = stack_runs(task, [batch] * streams.runs, device)

            def results(stacked: Batch = stacked) -> tuple[Tensor, Tensor]:
                with autocast(task.settings, device):
                    outputs = forward(stacked)
                return task.losses(outputs, stacked), task.predictions(outputs, stacked)

            of_runs = streams.call("evaluation", [SPLITS.index(split), number], results)
            by_run = [values.unflatten(0, (streams.runs, -1)).cpu() for values in of_runs]
            losses.append(by_run[0].double())
            predictions.append(by_run[1])
            references.append(batch)
    predicted, reference = torch.cat(predictions, 1), task.collate(references)
    scores = [task.metrics(predicted[run], reference)[task.metric] for run in range(streams.runs)]
    return scores, torch.cat(losses, 1).mean(1).tolist()


def training_batches(task: Task, seeds: Sequence[int], step: int) -> list[Batch]:
    """Each run's training batch of this step: a function of its seed and the step, also where tasks draw."""
    batch_by_seed = {}
    for seed in dict.fromkeys(seeds):
        with seeded(seed * 1_000_003 + step):
            batch_by_seed[seed] = task.batch(seed, step)
    return [batch_by_seed[seed] for seed in seeds]


def forward_backward(
    task: Task, packed: PackedModel, parameters: RunParameters, batches: Sequence[Batch], step: int = 0
) -> tuple[Tensor, Tensor]:
    """One forward and backward of the runs, each on its own batch, in `task.accumulate` parts.

    What model, method and task draw in it is a function of each run's seed and the step.

    Returns:
        Each run's mean loss, (runs,), and gradient, (runs, num_params); the leaves have theirs too.
    """
    rows, parts = len(next(iter(batches[0].values()))), task.settings.accumulate
    total_loss = torch.zeros(packed.runs, device=packed.device)
    total_grad = torch.zeros((), device=packed.device)
    for part in range(parts):
        batch_parts = [{k: v.tensor_split(parts)[part] for k, v in batch.items()} for batch in batches]
        batch = stack_runs(task, batch_parts, packed.device)
        flat = parameters.stack()
        flat.retain_grad()

        def row_losses(flat: Tensor = flat, batch: Batch = batch) -> Tensor:
            packed.buffers.put_back()  # an earlier part, or the first try of this one, may have moved some
            with autocast(task.settings, packed.device):
                outputs = packed(flat, task.forward, batch)
            return task.losses(outputs, batch)

        losses = packed.streams.call("training", [step, part], row_losses)
        losses = losses.unflatten(0, (packed.runs, -1)).sum(1) / rows
        losses.sum().backward()
        assert flat.grad is not None
        total_loss, total_grad = total_loss + losses.detach(), total_grad + flat.grad
    packed.buffers.put_back()
    return total_loss, total_grad
