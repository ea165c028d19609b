"""Blocks on the diagonal: how wide they are, a vector's parts that they act on, and what they make of it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from study.methods.tuner.precision import autocast_dtype, without_autocast


def block_width(width: int, blocks: int, where: str) -> int:
    """Width of one of `blocks` equal blocks.

    Raises:
        ValueError: if `blocks` does not divide `width`; names the layer and the nearest counts.
    """
    if width % blocks == 0:
        return width // blocks
    divisors = [n for n in range(1, width + 1) if width % n == 0]
    below = max(n for n in divisors if n < blocks) if blocks > 1 else 1
    above = min((n for n in divisors if n > blocks), default=width)
    nearest = f"{below} or {above}" if below != above else f"{below}"
    raise ValueError(
        f"blocks={blocks} does not divide the width {width} of {where}; the nearest that do: {nearest}"
    )


def to_blocks(x: Tensor, blocks: int) -> Tensor:
    """(..., d) -> (..., n, d/n)."""
    return x.unflatten(-1, (blocks, -1))


def block_product(x: Tensor, matrices: Tensor) -> Tensor:
    """x B with B block-diagonal, of tokens: (..., d), (n, d/n, d/n) -> (..., d)."""
    dtype = autocast_dtype(x.device) or x.dtype
    # torch.compile knows no views that are written to.
    function: Any = _copied if torch.compiler.is_compiling() else BlockProduct.apply
    with without_autocast(x.device):
        y: Tensor = function(x.reshape(-1, x.shape[-1]).to(dtype), matrices.to(dtype))
    return y.view(x.shape)


class BlockProduct(torch.autograd.Function):
    """(tokens, d), (n, b, b) -> (tokens, d): one product per block, which writes where its numbers belong.

    PyTorch's own would put the blocks one behind the other, and copy all of them into their places.
    """

    @staticmethod
    def forward(x: Tensor, matrices: Tensor) -> Tensor:
        y = x.new_empty(x.shape)
        torch.bmm(_blocks_first(x, matrices), matrices, out=_blocks_first(y, matrices))
        return y

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        x, matrices = ctx.saved_tensors
        of_x: Tensor = BlockProduct.apply(grad, matrices.mT)  # type: ignore[no-untyped-call]
        return of_x, torch.bmm(_blocks_first(x, matrices).mT, _blocks_first(grad, matrices))

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        return torch.vmap(_copied, in_dims)(*inputs), 0


def _blocks_first(x: Tensor, matrices: Tensor) -> Tensor:
    """A view of tokens: (tokens, d) -> (n, tokens, b)."""
    return to_blocks(x, len(matrices)).transpose(0, 1)


def _copied(x: Tensor, matrices: Tensor) -> Tensor:
    """The same, which any transformation of PyTorch can take."""
    return torch.bmm(_blocks_first(x, matrices), matrices).transpose(0, 1).flatten(1)
