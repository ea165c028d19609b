"""ETHER (paper eq. 4): (H W)^T x, H block-diagonal of Householder reflections I - 2 u u^T.

The reflected hyperplanes' unit normals are the only parameters; the distance |H_i - I|_F is exactly
2 per block whatever they are. At initialisation H is NOT the identity.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from study.methods.multiplicative import (
    LowRank,
    MultiplicativeConfig,
    MultiplicativeLayer,
    Parameters,
    block_width,
    register,
    times,
)
from study.methods.tuner.projections import as_rows, project, projected_linear, unit

REFLECTION = (-2.0,)
"""I - 2 u u^T."""


def random_normals(config: NormalsConfig, width: int) -> Tensor:
    """(n, b) from U(-1/sqrt(b), 1/sqrt(b)): the published code's kaiming-uniform with a = sqrt(5)."""
    bound = width**-0.5
    normals = torch.empty(config.blocks, width).uniform_(-bound, bound) * config.init_scale
    return unit(normals) * config.length if config.renormalise else normals


@dataclass
class NormalsConfig(MultiplicativeConfig):
    """Options of the methods whose parameters are normal vectors.

    A normal's length does not change the transformation, but a step of given size turns a longer vector
    less: these options ask how much of the robustness to the learning rate comes from that.

    Raises:
        ValueError: if `init_scale` is not positive and finite.
    """

    init_scale: float = field(default=1.0, metadata={"help": "Factor on the normals at initialisation"})
    renormalise: bool = field(
        default=False, metadata={"help": "Put normals back to length init_scale / sqrt(3) after every step"}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.init_scale < float("inf"):
            raise ValueError(f"init_scale must be positive and finite, got {self.init_scale!r}")

    @property
    def length(self) -> float:
        """Root mean square length of a normal at initialisation."""
        return self.init_scale / 3**0.5


class NormalsLayer(MultiplicativeLayer):
    """A layer whose parameters are normal vectors: (n, d/n) each, stored unnormalised."""

    def projects(self, adapter: str = "default") -> bool:
        return self.configs[adapter].renormalise

    def project(self, name: str, value: Tensor) -> Tensor:
        return unit(value) * self.configs["default"].length


@dataclass
class EtherConfig(NormalsConfig):
    """ETHER. `blocks` is the paper's n; the number of parameters, d per layer, does not depend on it."""

    PEFT_NAME: ClassVar[str] = "ether"


class EtherLayer(NormalsLayer):
    """y = W H x + b, H_i = I - 2 u_i u_i^T, |u_i| = 1, u: (n, d/n), stored unnormalised."""

    adapter_layer_names = ("ether_u",)

    def initial(self, config: EtherConfig, where: str) -> dict[str, Tensor]:
        width = block_width(self.in_features, config.blocks, where)
        return {"ether_u": random_normals(config, width)}

    def pre(self, x: Tensor, p: Parameters) -> Tensor:
        return project(x, p["ether_u"].unsqueeze(0), REFLECTION)

    @staticmethod
    def fused(x: Tensor, weight: Tensor, bias: Tensor | None, p: Parameters) -> Tensor:
        return projected_linear(x, weight, bias, REFLECTION, p["ether_u"].unsqueeze(0))

    @staticmethod
    def closed_form(weights: Tensor, p: Parameters) -> LowRank:
        """W H = W - 2 (W C^T) C, where C: (n, d) holds the normals as rows."""
        units = unit(p["ether_u"]).unsqueeze(-3)
        return LowRank(-2 * times(weights, units), as_rows(units))


register(EtherConfig, EtherLayer)
