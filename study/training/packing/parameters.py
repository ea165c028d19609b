"""What is trained: one vector of numbers per run, which its optimizer steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class RunParameters:
    """The leaf vectors of the runs of a pack, in float32.

    Attributes:
        adapters: per run, (numbers of its adapter,).
        heads: per run, (numbers of its head,), which is trained at a rate of its own; empty without one.
    """

    adapters: list[Tensor]
    heads: list[Tensor]

    def stack(self) -> Tensor:
        """What a packed model is called with, (runs, num_params); gradients pass through it to the leaves."""
        flat = torch.stack(self.adapters)
        return torch.cat([flat, torch.stack(self.heads)], 1) if self.heads else flat

    def set_gradients(self, grad: Tensor) -> None:
        """Each leaf's, as a view of the gradient of what `stack` gives, (runs, num_params)."""
        width = self.adapters[0].numel()
        for run, row in enumerate(grad.unbind()):
            self.adapters[run].grad = row[:width]
            if self.heads:
                self.heads[run].grad = row[width:]

    @property
    def vectors(self) -> list[Tensor]:
        """All leaf vectors."""
        return [*self.adapters, *self.heads]

    def of_run(self, run: int) -> RunParameters:
        """Those of one run: the same leaves."""
        return RunParameters(self.adapters[run : run + 1], self.heads[run : run + 1])

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Every leaf vector under a unique name: `adapter-0`, `adapter-1`, ..., `head-0`, ..."""
        for kind, vectors in (("adapter", self.adapters), ("head", self.heads)):
            for run, vector in enumerate(vectors):
                yield f"{kind}-{run}", vector
