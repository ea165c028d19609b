"""What is trained: one vector of numbers per run, which its optimizer steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class RunParameters:
    """The leaf vectors of the runs of a pack, in float32.

    Attributes:
        flat: what a packed model is called with, (runs, num_params): a run's adapter, then its head. The
            leaves are views of it, so that nothing is copied in a step.
        adapters: per run, (numbers of its adapter,).
        heads: per run, (numbers of its head,), which is trained at a rate of its own; empty without one.
    """

    flat: Tensor
    adapters: list[Tensor]
    heads: list[Tensor]

    @classmethod
    def of(cls, flat: Tensor, of_adapter: int) -> RunParameters:
        """Those of `flat`, (runs, num_params), of which the first `of_adapter` of a run are its adapter's."""
        flat = flat.detach()
        runs, has_head = range(len(flat)), flat.shape[1] > of_adapter
        return cls(
            flat,
            [flat[run, :of_adapter].requires_grad_() for run in runs],
            [flat[run, of_adapter:].requires_grad_() for run in runs] if has_head else [],
        )

    def copy(self) -> Tensor:
        """Of `flat` as it is now, (runs, num_params): later steps leave it alone, and it has a gradient."""
        return self.flat.clone().requires_grad_()

    def set_gradients(self, grad: Tensor) -> None:
        """Each leaf's, as a view of the gradient of `flat`, (runs, num_params)."""
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
        row = slice(run, run + 1)
        return RunParameters(self.flat[row], self.adapters[row], self.heads[row])

    def named(self) -> Iterator[tuple[str, Tensor]]:
        """Every leaf vector under a unique name: `adapter-0`, `adapter-1`, ..., `head-0`, ..."""
        for kind, vectors in (("adapter", self.adapters), ("head", self.heads)):
            for run, vector in enumerate(vectors):
                yield f"{kind}-{run}", vector
