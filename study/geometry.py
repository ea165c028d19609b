"""How far a transformed weight has moved: Frobenius distances and hyperspherical energy.

Neurons are the rows of torch's (f, d) weight, the columns of the paper's W.
"""

from __future__ import annotations

import torch
from torch import Tensor

CLOSE = 1e-3
"""Squared distance below which |a - b|^2 = 2 - 2 a.b has lost digits and is computed anew."""

SAME = 1e-30
"""Squared distance up to which two float64 unit vectors differ by rounding alone."""


def frobenius(matrix: Tensor) -> Tensor:
    """|M|_F over the last two axes: (..., f, d) -> (...)."""
    return torch.linalg.vector_norm(matrix, dim=(-2, -1))


def distance_to_identity(blocks: Tensor) -> Tensor:
    """|T - I|_F of a block-diagonal T: (..., n, b, b) -> (...)."""
    identity = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
    return torch.linalg.vector_norm(blocks - identity, dim=(-3, -2, -1))


@torch.no_grad()
def hyperspherical_energy(weight: Tensor, rows_at_once: int = 512) -> tuple[float, int]:
    """Mean over pairs i != j of 1 / |w_i/|w_i| - w_j/|w_j||, in float64 (full space, s = 1).

    Liu et al. 2018, in the mean form the ETHER paper's differences need; no epsilon. Never holds more
    than (rows_at_once, f) pairs.

    Args:
        weight: (f, d), f >= 2; any floating dtype.
        rows_at_once: rows of the pair matrix held at a time.

    Returns:
        The energy over pairs of distinct directions, and the number of (unordered) pairs in the very
        same direction, which have infinite energy and are counted instead. nan if a neuron is not
        finite or zero, or no pair is left.

    Raises:
        ValueError: if `weight` is not a matrix of two rows or more.
    """
    if weight.ndim != 2 or len(weight) < 2:
        raise ValueError(f"needs a matrix of at least two neurons, got shape {tuple(weight.shape)}")
    weight = weight.double()
    neurons = weight / weight.norm(dim=1, keepdim=True)
    if not torch.isfinite(neurons).all():
        return float("nan"), 0
    total, duplicates = torch.zeros((), dtype=torch.float64, device=weight.device), 0
    count = len(neurons)
    for start in range(0, count, rows_at_once):
        # Only pairs j > i: the block's own triangle, then every later row.
        block = neurons[start : start + rows_at_once]
        squared = 2 - 2 * block @ neurons[start:].T  # (rows, f - start)
        i, j = torch.nonzero(squared < CLOSE, as_tuple=True)
        squared[i, j] = (block[i] - neurons[start + j]).square().sum(1)
        upper = torch.ones_like(squared, dtype=torch.bool).triu(1)
        distinct = upper & (squared > SAME)
        duplicates += int((upper & (squared <= SAME)).sum())
        total += squared[distinct].rsqrt().sum()
    pairs = count * (count - 1) // 2 - duplicates
    return (total.item() / pairs if pairs else float("nan")), duplicates
