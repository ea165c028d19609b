"""What an adapter makes of a weight, in a form that serves many runs, and layers of one shape, at once.

A method that has such a form trains in packs at a fraction of what mapping its forward pass over the runs
costs: `study.training.packing` picks the cheapest way to apply it. A method without one needs nothing here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def layers_of(value: Tensor) -> list[Tensor]:
    """(layers, ...) as one tensor per layer; the gradient of a single layer's is not copied."""
    return list(value.unbind()) if len(value) > 1 else [value.squeeze(0)]


@dataclass(frozen=True)
class LowRank:
    """W' = W + left^T right.

    Vectors are rows: products with few rows are several times as fast as those with few columns.

    Attributes:
        left: (layers, runs, k, f).
        right: (layers, runs, k, d).
    """

    left: Tensor
    right: Tensor

    def by_layer(self) -> list[LowRank]:
        """That of each layer, without the axis of layers."""
        return [LowRank(*both) for both in zip(layers_of(self.left), layers_of(self.right), strict=True)]


@dataclass(frozen=True)
class InputBlocks:
    """W' = W B^T with B block-diagonal: y = W B^T x.

    Attributes:
        blocks: (layers, runs, n, b, b).
    """

    blocks: Tensor

    def by_layer(self) -> list[InputBlocks]:
        """That of each layer, without the axis of layers."""
        return [InputBlocks(blocks) for blocks in layers_of(self.blocks)]


ClosedForm = LowRank | InputBlocks


def times(weights: Tensor, vectors: Tensor) -> Tensor:
    """Each layer's weight times every run's vectors, each of which is zero outside a block.

    One matrix product per layer and block, over the vectors of all runs.

    Args:
        weights: (layers, f, n b).
        vectors: t in each of n blocks, (layers, runs, t, n, b).

    Returns:
        (layers, runs, n t, f).
    """
    by_block = weights.unflatten(-1, vectors.shape[-2:])
    return torch.einsum("lfnb,lrtnb->lrntf", by_block, vectors).flatten(2, 3)
