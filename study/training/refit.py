"""Refitting of magnitudes: the last steps of a run, where a factor for each output of a layer trains alone.

OFT's "magnitude refit", as in the paper's Table 3: first the adapter is trained, then, with the adapter held,
the magnitudes of the neurons of W'.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from study.settings import TaskSettings
from study.training.packing import PackedModel, RunParameters


class Refit:
    """Which of the adapters' numbers a step trains: all but the magnitudes, or the magnitudes alone.

    Attributes:
        first: the first step of the magnitudes.
    """

    def __init__(self, packed: PackedModel, settings: TaskSettings) -> None:
        self.first = settings.steps - (settings.refit_steps or 0)
        of_adapters = [slot for slot in packed.slots if not slot.head]
        self._magnitudes = torch.cat(
            [torch.full((slot.size,), slot.magnitude, device=packed.device) for slot in of_adapters]
        )  # (numbers of an adapter,)

    @contextmanager
    def held(
        self, step: int, parameters: RunParameters, grad: Tensor, optimizer: torch.optim.Optimizer
    ) -> Iterator[None]:
        """While the optimizer takes step `step`, numbers that are not its own keep their values.

        Magnitudes begin with fresh moments, as in a training of their own.

        Args:
            grad: of all runs, (runs, num_params); becomes zero where nothing is trained, as the gradients of
                `parameters` do.
        """
        refits = step >= self.first
        if step == self.first:
            optimizer.state.clear()
        held = ~self._magnitudes if refits else self._magnitudes
        grad[:, : len(held)].masked_fill_(held, 0)
        if refits:
            grad[:, len(held) :] = 0
            for vector in parameters.heads:
                vector.grad = None
        for vector in parameters.adapters:
            if vector.grad is not None:
                vector.grad.masked_fill_(held, 0)
        before = [vector.detach()[held] for vector in parameters.adapters]  # weight decay moves them too
        yield
        with torch.no_grad():
            for vector, values in zip(parameters.adapters, before, strict=True):
                vector[held] = values
