"""ETHER (paper eq. 4): (H W)^T x, H block-diagonal of Householder reflections I - 2 u u^T.

The reflected hyperplanes' unit normals are the only parameters; the distance |H_i - I|_F is exactly
2 per block whatever they are. At initialisation H is NOT the identity.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from study.methods.multiplicative import (
    MultiplicativeConfig,
    MultiplicativeLayer,
    Parameters,
    block_width,
    register,
    to_blocks,
)


def random_normals(blocks: int, width: int) -> Tensor:
    """(n, b) from U(-1/sqrt(b), 1/sqrt(b)): the published code's kaiming-uniform with a = sqrt(5)."""
    bound = width**-0.5
    return torch.empty(blocks, width).uniform_(-bound, bound)


def unit(u: Tensor) -> Tensor:
    """Each block's vector at length one: (n, b) -> (n, b)."""
    return u / u.norm(dim=-1, keepdim=True)


def add_projections(x: Tensor, *terms: tuple[float, Tensor]) -> Tensor:
    """x + sum of c u (u . x) over the terms (c, u), block by block: (..., d), u: (n, d/n) -> (..., d).

    With few blocks two thin matrix products are the fastest form (as fast as LoRA of rank n); their
    cost grows with n, so with many blocks it is done elementwise, in O(d) whatever n is.
    """
    blocks = len(terms[0][1])
    if blocks * len(terms) <= 16:
        columns = [_columns(u) for _, u in terms]  # (d, n) each
        units = torch.cat(columns, -1)
        scaled = torch.cat([c * part for (c, _), part in zip(terms, columns, strict=True)], -1)
        return x + (x @ units.to(x.dtype)) @ scaled.mT.to(x.dtype)
    x_blocks = y_blocks = to_blocks(x, blocks)
    for c, u in terms:
        u = u.to(x.dtype)
        y_blocks = y_blocks + (x_blocks * (c * u)).sum(-1, keepdim=True) * u
    return y_blocks.flatten(-2)


def _columns(u: Tensor) -> Tensor:
    """(n, b) -> (n b, n): the block vectors as columns, each zero outside its block."""
    identity = torch.eye(len(u), dtype=u.dtype, device=u.device)
    return (u.unsqueeze(-1) * identity.unsqueeze(1)).flatten(0, 1)


@dataclass
class EtherConfig(MultiplicativeConfig):
    """ETHER. `blocks` is the paper's n; the number of parameters, d per layer, does not depend on it."""

    PEFT_NAME: ClassVar[str] = "ether"


class EtherLayer(MultiplicativeLayer):
    """y = W H x + b, H_i = I - 2 u_i u_i^T, |u_i| = 1, u: (n, d/n), stored unnormalised."""

    adapter_layer_names = ("ether_u",)

    def initial(self, config: EtherConfig, where: str) -> dict[str, Tensor]:
        width = block_width(self.in_features, config.blocks, where)
        return {"ether_u": random_normals(config.blocks, width)}

    def pre(self, x: Tensor, p: Parameters) -> Tensor:
        return add_projections(x, (-2.0, unit(p["ether_u"])))


register(EtherConfig, EtherLayer)
