"""What an adapter makes of a weight, in a form that serves many runs, and layers of one shape, at once.

A method that has such a form trains in packs at a fraction of what mapping its forward pass over the runs
costs: `study.training.packing` picks the cheapest way to apply it. A method without one needs nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LowRank:
    """W' = W + left right^T.

    Attributes:
        left: (layers, runs, f, k).
        right: (layers, runs, d, k).
    """

    left: Tensor
    right: Tensor

    def by_layer(self) -> list[LowRank]:
        """That of each layer, without the axis of layers."""
        return [LowRank(*both) for both in zip(self.left.unbind(), self.right.unbind(), strict=True)]


@dataclass(frozen=True)
class InputBlocks:
    """W' = W B^T with B block-diagonal: y = W B^T x.

    Attributes:
        blocks: (layers, runs, n, b, b).
    """

    blocks: Tensor

    def by_layer(self) -> list[InputBlocks]:
        """That of each layer, without the axis of layers."""
        return [InputBlocks(blocks) for blocks in self.blocks.unbind()]


ClosedForm = LowRank | InputBlocks


def times(weights: Tensor, columns: Tensor) -> Tensor:
    """Each layer's weight times every run's columns: (layers, runs, d, k) -> (layers, runs, f, k).

    One matrix product per layer, over the columns of all its runs.

    Args:
        weights: (layers, f, d).
    """
    return torch.einsum("lfd,lrdk->lrfk", weights, columns)
