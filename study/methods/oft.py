"""OFT (Qiu et al. 2023, as the ETHER paper defines it): (Q W)^T x, Q block-diagonal orthogonal.

Q_i = (I + S_i)(I - S_i)^-1, S_i = (R_i - R_i^T) / 2: the exact Cayley transform, where `peft`'s own
OFT defaults to a truncated series that is not orthogonal at large parameters. Registered with `peft`
as `cayley_oft`, for `oft` is taken there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from study.methods.multiplicative import (
    InputBlocks,
    MultiplicativeConfig,
    MultiplicativeLayer,
    Parameters,
    block_product,
    block_width,
    register,
)
from study.methods.tuner.inverse import inverses


def cayley(r: Tensor) -> Tensor:
    """(..., b, b) of any matrices -> (..., b, b) of rotations (determinant +1)."""
    q: Tensor = Cayley.apply(r)  # type: ignore[no-untyped-call]
    return q


class Cayley(torch.autograd.Function):
    """Q = (I + S)(I - S)^-1 = 4 A^-1 - I with A = 2 I - 2 S = 2 I + R^T - R, in as few passes as it takes.

    A is never singular, and Q + I is all that the gradient needs: X - X^T, where 4 X = (Q + I)^T G (Q + I)^T.
    """

    @staticmethod
    def forward(r: Tensor) -> Tensor:
        a = r.mT - r
        a.diagonal(dim1=-2, dim2=-1).add_(2.0)
        q = inverses(a).mul_(4.0)  # raises nothing, so a diverged run cannot stop its neighbours
        q.diagonal(dim1=-2, dim2=-1).sub_(1.0)
        return q

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (q,) = ctx.saved_tensors
        moved = (q + torch.eye(q.shape[-1], dtype=q.dtype, device=q.device)).mT
        x = moved @ (grad / 4) @ moved
        return x - x.mT

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int], r: Tensor) -> tuple[Tensor, int]:
        return Cayley.apply(r.movedim(in_dims[0], 0)), 0  # type: ignore[no-untyped-call]


@dataclass
class OftConfig(MultiplicativeConfig):
    """OFT. `blocks` blocks of (d/n, d/n) per layer; the paper counts half of them, by skew-symmetry."""

    PEFT_NAME: ClassVar[str] = "cayley_oft"


class OftLayer(MultiplicativeLayer):
    """y = W Q^T x + b, r: (n, d/n, d/n), zero at initialisation (Q = I)."""

    adapter_layer_names = ("cayley_oft_r",)
    free_share = 0.5

    def initial(self, config: OftConfig, where: str) -> dict[str, Tensor]:
        b = block_width(self.in_features, config.blocks, where)
        return {"cayley_oft_r": torch.zeros(config.blocks, b, b)}

    def pre(self, x: Tensor, p: Parameters) -> Tensor:
        r = p["cayley_oft_r"]
        return block_product(x, cayley(r.float() if r.dtype in (torch.float16, torch.bfloat16) else r))

    @staticmethod
    def closed_form(weights: Tensor, p: Parameters) -> InputBlocks:
        """W Q^T."""
        return InputBlocks(cayley(p["cayley_oft_r"]))


register(OftConfig, OftLayer)
