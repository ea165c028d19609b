"""Sharpness: the largest eigenvalue of the Hessian of a run's training loss, in its adapter's parameters.

The loss is of a fixed batch, in evaluation mode: the same examples at the start and at the end. Eigenvalues
are found by Lanczos' iteration, which is power iteration that keeps what it has seen: of power iteration the
eigenvalue that is largest in size comes out, and a Hessian before training, LoRA's above all, has negative
ones of the same size. Every run of a pack has a Hessian, a start vector and an end of its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from study.errors import UsageError, first_line
from study.tasks import Batch, Task
from study.training.frozen_base import evaluation_mode
from study.training.packing import PackedModel, RunParameters
from study.training.passes import autocast, stack_runs

EXAMPLES = 64
"""Of the batch; evenly spaced among a run's training examples, some twice where it has fewer."""

MOST_PRODUCTS = 40
"""Of a Hessian and a vector; what has not settled by then is a little too small."""

TOLERANCE = 0.01
"""Residual of the eigenvector that is small enough, relative to the largest eigenvalue in size; the
eigenvalue's own error is far smaller."""


def measure_sharpness(task: Task, packed: PackedModel, parameters: RunParameters) -> list[float]:
    """Every run's sharpness as it is now; nan where its loss is not finite.

    Nothing is drawn from the streams that training draws from.
    """
    hessian = Hessian(task, packed, parameters.flat)
    starts = []
    for seed, vector in zip(packed.streams.seeds, parameters.adapters, strict=True):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + 1)
        start = torch.randn(vector.shape, generator=generator, dtype=torch.float64)
        starts.append(start.to(vector.device))
    with evaluation_mode(packed.base):
        return top_eigenvalues(hessian, torch.stack(starts))


def check_differentiable_twice(task: Task, packed: PackedModel, parameters: RunParameters) -> None:
    """Raises UsageError if what the runs compute has no second derivative."""
    hessian = Hessian(task, packed, parameters.flat)
    try:
        with evaluation_mode(packed.base):
            hessian(torch.stack([torch.ones_like(vector) for vector in parameters.adapters]))
    except (RuntimeError, NotImplementedError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        why = first_line(error)
        raise UsageError(
            f"task.sharpness=true: the loss cannot be differentiated twice ({why}); leave it out"
        ) from None


class Hessian:
    """Of every run's loss: `hessian(vectors)`, (runs, numbers of an adapter), are its products with these.

    Args:
        flat: the runs' parameters, (runs, num_params); those of heads are held.
    """

    def __init__(self, task: Task, packed: PackedModel, flat: Tensor) -> None:
        self._task, self._packed, self._flat = task, packed, flat
        by_seed = {seed: _fixed_batch(task, seed) for seed in dict.fromkeys(packed.streams.seeds)}
        self._batches = [by_seed[seed] for seed in packed.streams.seeds]
        rows = max(1, task.settings.batch_size // task.settings.accumulate)
        self._parts = -(-EXAMPLES // rows)  # as many rows at a time as in training

    def __call__(self, vectors: Tensor) -> Tensor:
        width = vectors.shape[1]
        product = torch.zeros_like(vectors, dtype=torch.float64)
        for part in range(self._parts):
            flat = self._flat.clone().requires_grad_()
            (grad,) = torch.autograd.grad(self._loss(flat, part), flat, create_graph=True)
            if not grad.requires_grad:  # the loss is linear in the parameters
                continue
            along = (grad[:, :width] * vectors.to(grad.dtype)).sum()
            along.backward()  # not `grad`, which passes over functions without a second derivative
            assert flat.grad is not None
            product += flat.grad[:, :width]
        return product

    def _loss(self, flat: Tensor, part: int) -> Tensor:
        """The sum over runs of this part's share of their mean loss."""
        task, packed = self._task, self._packed
        of_runs = [{k: v.tensor_split(self._parts)[part] for k, v in b.items()} for b in self._batches]
        batch = stack_runs(task, of_runs, packed.device)

        def row_losses() -> Tensor:
            packed.buffers.put_back()
            # The fused kernels of attention have no second derivative.
            with autocast(task.settings, packed.device), sdpa_kernel(SDPBackend.MATH):
                outputs = packed(flat, task.forward, batch)
            return task.losses(outputs, batch)

        losses = packed.streams.call("sharpness", [part], row_losses)
        packed.buffers.put_back()
        return losses.sum() / EXAMPLES


def _fixed_batch(task: Task, seed: int) -> Batch:
    rows = task.rows("train", seed)
    chosen = rows[torch.linspace(0, len(rows) - 1, EXAMPLES).round().long()]
    return task.examples("train", chosen) | task.training_set.labels_of(chosen)


def top_eigenvalues(product: Callable[[Tensor], Tensor], start: Tensor) -> list[float]:
    """The largest eigenvalue of each run's symmetric matrix; nan where its products are not finite.

    Args:
        product: of the matrices and vectors, (runs, n) -> (runs, n).
        start: (runs, n), in float64; not zero.
    """
    vector, before = start / start.norm(dim=1, keepdim=True), torch.zeros_like(start)
    found: dict[int, float] = {}
    diagonal: list[Tensor] = []  # of each run's matrix as Lanczos sees it, and what stands beside it
    beside = [torch.zeros(len(start), dtype=start.dtype, device=start.device)]
    for _ in range(MOST_PRODUCTS):
        image = product(vector) - beside[-1].unsqueeze(1) * before
        diagonal.append((image * vector).sum(1))
        image = image - diagonal[-1].unsqueeze(1) * vector
        beside.append(image.norm(dim=1))
        vector, before = image / beside[-1].clamp(min=1e-300).unsqueeze(1), vector
        last = len(diagonal) == MOST_PRODUCTS
        main, off = torch.stack(diagonal, 1).cpu(), torch.stack(beside[1:], 1).cpu()  # (runs, steps)
        for run in range(len(start)):
            if run not in found:
                value, settled = _ritz(main[run], off[run])
                if settled or last:
                    found[run] = value
        if len(found) == len(start):
            break
    return [found[run] for run in range(len(start))]


def _ritz(main: Tensor, off: Tensor) -> tuple[float, bool]:
    """The largest eigenvalue of a tridiagonal matrix, and whether it has settled.

    Args:
        main, off: its diagonal, (steps,), and what stands beside it; the last of these is of the next step.
    """
    if not (torch.isfinite(main).all() and torch.isfinite(off).all()):
        return math.nan, True
    values, vectors = torch.linalg.eigh(main.diag() + off[:-1].diag(1) + off[:-1].diag(-1))
    residual = off[-1] * vectors[-1, -1].abs()
    return values[-1].item(), bool(residual <= TOLERANCE * values.abs().max())
