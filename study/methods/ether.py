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

FEW_VECTORS = 16


def random_normals(blocks: int, width: int) -> Tensor:
    """(n, b) from U(-1/sqrt(b), 1/sqrt(b)): the published code's kaiming-uniform with a = sqrt(5)."""
    bound = width**-0.5
    return torch.empty(blocks, width).uniform_(-bound, bound)


def unit(u: Tensor) -> Tensor:
    """Each block's vector at length one: (n, b) -> (n, b)."""
    return u / u.norm(dim=-1, keepdim=True)


def add_projections(x: Tensor, units: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """x + sum of c u (u . x) over t terms, block by block: (..., d) -> (..., d).

    With few blocks two thin matrix products are the fastest form (as fast as LoRA of rank n t); their
    cost grows with n, so with many blocks it is done elementwise, in O(d) whatever n is.

    Args:
        units: (t, n, d/n), unit vectors.
        coefficients: t numbers c.
    """
    units = units.to(x.dtype)
    terms, blocks, width = units.shape
    if terms * blocks > FEW_VECTORS:
        x_blocks = y_blocks = to_blocks(x, blocks)
        for c, u in zip(coefficients, units, strict=True):
            y_blocks = y_blocks + (x_blocks * (c * u)).sum(-1, keepdim=True) * u
        return y_blocks.flatten(-2)
    # The vectors as columns, each zero outside its block: (n, b, n, t) -> (d, n t).
    diagonal = torch.eye(blocks, dtype=x.dtype, device=x.device)[:, None, :, None]
    columns = (units.permute(1, 2, 0).unsqueeze(2) * diagonal).reshape(blocks * width, -1)
    first = coefficients[0]
    scaled = columns
    if terms > 1:
        scaled = columns * columns.new_tensor([c / first for c in coefficients] * blocks)
    tokens = x.flatten(0, -2)  # (tokens, d)
    return torch.addmm(tokens, tokens @ columns, scaled.mT, alpha=first).view(x.shape)


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
        return add_projections(x, unit(p["ether_u"]).unsqueeze(0), (-2.0,))


register(EtherConfig, EtherLayer)
