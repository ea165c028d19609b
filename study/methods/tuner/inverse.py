"""The inverses of many small matrices, none of which is near a singular one."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_WIDTH = 16
"""Down to which matrices are halved: LAPACK inverts 1,104 of 16 by 16 in 3.3 ms, 276 of 64 by 64 in 27 ms."""


def inverses(a: Tensor) -> Tensor:
    """a^-1, (..., b, b), where the symmetric part of each a is at least the identity: a = I + S, S skew, say.

    On a CPU LAPACK takes one matrix at a time, at a tenth of the speed of products. By halves most of the
    work is products of all matrices. That has no pivots, so errors grow with S squared, not with S as
    LAPACK's do. Each inverse is therefore tried on a vector, and LAPACK inverts those that fail: a choice of
    every matrix alone.

    Nothing is raised, whatever they hold.
    """
    # On a GPU, and under torch.compile, nothing is to be chosen by values.
    if a.shape[-1] <= LEAST_WIDTH or not a.is_cpu or torch.compiler.is_compiling():
        return torch.linalg.inv_ex(a).inverse
    flat = a.reshape(-1, *a.shape[-2:])
    inverse = _by_halves(flat)
    # Its length is the most by which a^-1 1 is off, for |a^-1| <= 1.
    residual = (flat * inverse.sum(-1).unsqueeze(-2)).sum(-1) - 1  # (matrices, b)
    failed = ~(residual.abs().amax(-1) <= 100 * torch.finfo(a.dtype).eps)
    if failed.any():
        inverse[failed] = torch.linalg.inv_ex(flat[failed]).inverse
    return inverse.view(a.shape)


def _by_halves(a: Tensor) -> Tensor:
    """(matrices, b, b): from the inverses of the first half and of its Schur complement."""
    if a.shape[-1] <= LEAST_WIDTH:
        return torch.linalg.inv_ex(a).inverse
    half = a.shape[-1] // 2
    first, up, down, last = a[:, :half, :half], a[:, :half, half:], a[:, half:, :half], a[:, half:, half:]
    of_first = _by_halves(first)
    down_first, first_up = down @ of_first, of_first @ up
    of_complement = _by_halves(torch.baddbmm(last, down_first, up, alpha=-1))
    inverse = torch.empty_like(a)
    inverse[:, half:, half:] = of_complement
    inverse[:, half:, :half] = below = (of_complement @ down_first).neg_()
    inverse[:, :half, half:] = (first_up @ of_complement).neg_()
    inverse[:, :half, :half] = torch.baddbmm(of_first, first_up, below, alpha=-1)
    return inverse
