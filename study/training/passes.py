"""A task's model at work for the runs of a pack: forward to their scores, backward to their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from study.errors import UsageError, first_line
from study.settings import TaskSettings
from study.tasks import Batch, Task
from study.training.packing import Pack


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
            model.activation_checkpointing_enable({"use_reentrant": False})  # type: ignore[operator]
            model.disable_input_require_grads()  # type: ignore[operator]
        except (AttributeError, ValueError) as error:
            raise UsageError(f"task.gradient_checkpointing=true: {first_line(error)}") from None
    return model


def fold(task: Task, batches: Sequence[Batch], device: torch.device) -> Batch:
    """One batch per run, (batch, ...) each, as one batch with the runs leading: (runs * batch, ...)."""
    return {name: value.to(device) for name, value in task.collate(batches).items()}


def autocast(settings: TaskSettings, device: torch.device) -> AbstractContextManager[Any]:
    """Where a forward runs in the task's precision."""
    if device.type == "meta":  # knows none; what is counted there is a little more for it
        return nullcontext()
    enabled = settings.precision == "bfloat16"
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled)


@torch.no_grad()
def evaluate(
    task: Task, model: nn.Module, split: str, pack: Pack | None = None
) -> tuple[list[float], list[float]]:
    """Primary metric and mean loss on a whole split, of every run that is bound, or of the model alone."""
    runs = pack.runs if pack else 1
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    predictions, losses, references = [], [], []
    for batch in task.batches(split):
        folded = fold(task, [batch] * runs, device)
        with autocast(task.settings, device):
            outputs = pack.forward(task.forward, folded) if pack else task.forward(model, folded)
        losses.append(task.losses(outputs, folded).double().unflatten(0, (runs, -1)).cpu())
        predictions.append(task.predictions(outputs, folded).unflatten(0, (runs, -1)).cpu())
        references.append(batch)
    model.train(was_training)
    predicted, whole = torch.cat(predictions, 1), task.collate(references)
    scores = [task.metrics(predicted[run], whole)[task.metric] for run in range(runs)]
    return scores, torch.cat(losses, 1).mean(1).tolist()


def backward(task: Task, pack: Pack, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """One forward and backward of the runs as they are, each on its own batch, in `task.accumulate` parts.

    Returns:
        Each run's mean loss, (runs,), and gradient, (runs, trained numbers); the leaves have theirs too.
    """
    rows = len(next(iter(batches[0].values())))
    total_loss, total_grad = torch.zeros(pack.runs, device=pack.device), torch.zeros((), device=pack.device)
    for part in range(task.settings.accumulate):
        own = [{k: v.tensor_split(task.settings.accumulate)[part] for k, v in b.items()} for b in batches]
        batch = fold(task, own, pack.device)
        flat = pack.bind()
        flat.retain_grad()
        with autocast(task.settings, pack.device):
            outputs = pack.forward(task.forward, batch)
        losses = task.losses(outputs, batch).unflatten(0, (pack.runs, -1)).sum(1) / rows
        losses.sum().backward()
        assert flat.grad is not None
        total_loss, total_grad = total_loss + losses.detach(), total_grad + flat.grad
    return total_loss, total_grad
