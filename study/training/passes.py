"""A task's model at work for the runs of a pack: forward to their scores, backward to their gradients."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from study.errors import UsageError, first_line
from study.settings import TaskSettings
from study.tasks import SPLITS, Batch, Task
from study.training.frozen_base import evaluation_mode
from study.training.packing import Forward, PackedModel, RunParameters, checkpoint_contexts
from study.training.randomness import RunStreams, seeded
from study.training.recorded_passes import RecordedPasses


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


@dataclass(frozen=True)
class Scores:
    """One run on all of a split.

    Attributes:
        primary: the task's primary metric.
        loss: mean over rows.
        further: the task's other metrics by name.
    """

    primary: float
    loss: float
    further: dict[str, float] = field(default_factory=dict)


Call = Callable[[Forward, Batch], Tensor]
"""A task's function of model and batch, called for every run at once."""


@torch.no_grad()
def evaluate(task: Task, model: nn.Module, split: str, seed: int | None = None) -> Scores:
    """A model on all of a split, as of one run; on those of its rows that a run with `seed` has, if given."""
    device = next(model.parameters()).device
    streams = RunStreams([0], device)
    rows = torch.arange(task.size(split)) if seed is None else task.rows(split, seed)
    by_run = _evaluate(task, model, split, [rows], streams, device, lambda f, batch: f(model, batch))
    return by_run[0]


class BaseScores:
    """The scores per split of an untouched base model on the rows of a seed, each measured once.

    Ask before the model is adapted.
    """

    def __init__(self, task: Task, model: nn.Module) -> None:
        self._task, self._model = task, model
        self._known: dict[tuple[str, tuple[int, ...]], Scores] = {}

    def __call__(self, seed: int) -> dict[str, Scores]:
        """By split: `valid` and `test`."""
        scores = {}
        for split in ("valid", "test"):
            key = (split, tuple(self._task.rows(split, seed).tolist()))
            if key not in self._known:
                self._known[key] = evaluate(self._task, self._model, split, seed)
            scores[split] = self._known[key]
        return scores


@torch.no_grad()
def evaluate_runs(task: Task, packed: PackedModel, flat: Tensor, split: str) -> list[Scores]:
    """Every run on all of its rows of a split.

    Args:
        flat: the runs' parameters, (runs, num_params).
    """

    def call(function: Forward, batch: Batch) -> Tensor:
        return packed(flat, function, batch)

    rows = [task.rows(split, seed) for seed in packed.streams.seeds]
    return _evaluate(task, packed.base, split, rows, packed.streams, packed.device, call)


def losses_and_predictions(
    task: Task, call: Call, batch: Batch, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Of each row of a stacked batch: (rows,) and (rows, ...)."""
    with autocast(task.settings, device):
        outputs = call(task.forward, batch)
        generated = call(task.sample, batch) if task.generates else outputs
    return task.losses(outputs, batch), task.predictions(generated, batch)


def _evaluate(
    task: Task,
    model: nn.Module,
    split: str,
    rows: Sequence[Tensor],
    streams: RunStreams,
    device: torch.device,
    call: Call,
) -> list[Scores]:
    """Every run on its own rows of a split, with `model`, that `call` uses, in evaluation mode.

    Args:
        rows: one tensor of indices per run, all of one length; runs with the same rows share their batches.
    """
    keys = [tuple(of_run.tolist()) for of_run in rows]
    predictions, losses = [], []
    references: dict[tuple[int, ...], list[Batch]] = {key: [] for key in keys}
    with evaluation_mode(model), seeded(SPLITS.index(split)):  # for what a task draws to make its batches
        different = [task.batches(split, torch.tensor(key, dtype=torch.long)) for key in references]
        for number, batches in enumerate(zip(*different, strict=True)):
            by_rows = dict(zip(references, batches, strict=True))
            stacked = stack_runs(task, [by_rows[key] for key in keys], device)

            def results(stacked: Batch = stacked) -> tuple[Tensor, Tensor]:
                return losses_and_predictions(task, call, stacked, device)

            of_runs = streams.call("evaluation", [SPLITS.index(split), number], results)
            by_run = [values.unflatten(0, (streams.runs, -1)).cpu() for values in of_runs]
            losses.append(by_run[0].double())
            predictions.append(by_run[1])
            for key, batch in by_rows.items():
                references[key].append(batch)
    predicted = torch.cat(predictions, 1)
    collated = {key: task.collate(batches) for key, batches in references.items()}
    scores = []
    for run, loss in enumerate(torch.cat(losses, 1).mean(1).tolist()):
        metrics = task.metrics(predicted[run], collated[keys[run]])
        scores.append(Scores(metrics.pop(task.metric), loss, metrics))
    return scores


@torch.no_grad()
def pictures_of_runs(task: Task, packed: PackedModel, flat: Tensor) -> list[dict[str, Tensor]]:
    """What every run keeps to be looked at: see `Task.pictures`; of tasks that keep none, nothing.

    Args:
        flat: the runs' parameters, (runs, num_params).
    """
    if not task.kept_pictures:
        return [{} for _ in range(packed.runs)]
    by_seed = {
        seed: task.examples("test", task.rows("test", seed)[: task.kept_pictures])
        for seed in dict.fromkeys(packed.streams.seeds)
    }
    batch = stack_runs(task, [by_seed[seed] for seed in packed.streams.seeds], packed.device)

    def pictures() -> dict[str, Tensor]:
        with autocast(task.settings, packed.device):
            outputs = packed(flat, task.sample if task.generates else task.forward, batch)
        return task.pictures(outputs, batch)

    with evaluation_mode(packed.base):
        of_all = packed.streams.call("pictures", [0], pictures)
    by_run = {name: value.unflatten(0, (packed.runs, -1)).cpu() for name, value in of_all.items()}
    return [{name: value[run] for name, value in by_run.items()} for run in range(packed.runs)]


def training_batches(task: Task, seeds: Sequence[int], step: int) -> list[Batch]:
    """Each run's training batch of this step: a function of its seed and the step, also where tasks draw."""
    batch_by_seed = {}
    for seed in dict.fromkeys(seeds):
        with seeded(seed * 1_000_003 + step):
            batch_by_seed[seed] = task.batch(seed, step)
    return [batch_by_seed[seed] for seed in seeds]


def forward_backward(
    task: Task,
    packed: PackedModel,
    parameters: RunParameters,
    batches: Sequence[Batch],
    step: int = 0,
    recorded: RecordedPasses | None = None,
) -> tuple[Tensor, Tensor]:
    """One forward and backward of the runs, each on its own batch, in `task.accumulate` parts.

    What model, method and task draw in it is a function of each run's seed and the step.

    Args:
        recorded: replays what draws nothing.

    Returns:
        Each run's mean loss, (runs,), and gradient, (runs, num_params); the leaves have theirs too.
    """
    rows, parts = len(next(iter(batches[0].values()))), task.settings.accumulate
    total_loss = torch.zeros(packed.runs, device=packed.device)
    total_grad: Tensor | None = None

    def row_losses(flat: Tensor, batch: Batch) -> Tensor:
        packed.buffers.put_back()  # an earlier part, or the first try of this one, may have moved some
        with autocast(task.settings, packed.device):
            outputs = packed(flat, task.forward, batch)
        return task.losses(outputs, batch)

    def passes(flat: Tensor, batch: Batch, place: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """The runs' mean losses and gradients; without a place, of what draws nothing."""
        forward = partial(row_losses, flat.requires_grad_(), batch)
        of_rows = forward() if place is None else packed.streams.call("training", place, forward)
        losses = of_rows.unflatten(0, (packed.runs, -1)).sum(1) / rows
        (grad,) = torch.autograd.grad(losses.sum(), flat)
        return losses.detach(), grad

    for part in range(parts):
        batch_parts = [{k: v.tensor_split(parts)[part] for k, v in batch.items()} for batch in batches]
        batch = stack_runs(task, batch_parts, packed.device)
        flat = parameters.flat.detach()  # gets a gradient; that of which the leaves are views has none
        plainly = partial(passes, flat, batch, [step, part])
        if recorded and packed.streams.known_to_draw_nothing("training"):
            losses, grad = recorded(passes, flat, batch, plainly)
        else:
            losses, grad = plainly()
        total_loss = total_loss + losses
        total_grad = grad if total_grad is None else total_grad + grad
    packed.buffers.put_back()
    assert total_grad is not None
    parameters.set_gradients(total_grad)
    return total_loss, total_grad
