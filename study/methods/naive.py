"""Naive (paper section 5.3): (N W)^T x, N block-diagonal and unconstrained, of OFT's size.

OFT without its orthogonality: what remains shows what the constraint is worth (claim C6).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

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


@dataclass
class NaiveConfig(MultiplicativeConfig):
    """Naive. d^2 / n parameters per layer."""

    PEFT_NAME: ClassVar[str] = "naive"


class NaiveLayer(MultiplicativeLayer):
    """y = W N^T x + b, matrix: (n, d/n, d/n), the identity at initialisation."""

    adapter_layer_names = ("naive_matrix",)

    def initial(self, config: NaiveConfig, where: str) -> dict[str, Tensor]:
        b = block_width(self.in_features, config.blocks, where)
        return {"naive_matrix": torch.eye(b).repeat(config.blocks, 1, 1)}

    def pre(self, x: Tensor, p: Parameters) -> Tensor:
        return block_product(x, p["naive_matrix"])

    @staticmethod
    def closed_form(weights: Tensor, p: Parameters) -> InputBlocks:
        """W N^T."""
        return InputBlocks(p["naive_matrix"])


register(NaiveConfig, NaiveLayer)
