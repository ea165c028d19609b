"""An adapted layer of a model that is mapped over the runs, computed for all of them at once nevertheless."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from study.training.packing.packed_module import PackedModule


class MappedLayer(PackedModule):
    """In the place of an adapted layer with a closed form, while `torch.func.vmap` maps the model.

    The layer steps out of the mapping and is computed as it is in a model that is not mapped. What has no
    axis of runs, such as DeBERTa's relative positions, is the same input for each of them.

    Attributes:
        lane: the runs' numbers, as the mapping hands them in: one run's each.
    """

    lane: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """One run's, as the model sees it: (batch, ..., d) -> (batch, ..., f)."""
        y: Tensor = OutOfMapping.apply(x, self.lane, super().forward)  # type: ignore[no-untyped-call]
        return y


class OutOfMapping(torch.autograd.Function):
    """`layer` of all runs' inputs, (runs * batch, ...), given one run's, (batch, ...), in a mapped model.

    Only the mapping itself is passed by: what the layer computes is recorded for the gradient as ever.
    """

    @staticmethod
    def forward(x: Tensor, lane: Tensor, layer: Any) -> Tensor:
        raise RuntimeError("belongs into a model that is mapped over runs")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None: ...

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], x: Tensor, lane: Tensor, layer: Any) -> Any:
        runs = info.batch_size
        by_run = x.expand(runs, *x.shape) if in_dims[0] is None else x.movedim(in_dims[0], 0)
        if x.ndim == 1 + (in_dims[0] is not None):  # one vector, without a batch
            return layer(by_run), 0
        return layer(by_run.flatten(0, 1)).unflatten(0, (runs, -1)), 0
