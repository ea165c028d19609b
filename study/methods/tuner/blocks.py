"""Blocks on the diagonal: how wide they are, and a vector's parts that they act on."""

from __future__ import annotations

from torch import Tensor


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
