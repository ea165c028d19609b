"""ETHER+ (paper eq. 6): (H+ W H~+)^T x, H+_i = I - u u^T + v v^T, on both sides of the weight.

Starts at the identity (v = -u) and stays within |H+_i - I|_F <= sqrt(2 - 2 (u.v)^2) <= sqrt(2) per
block and side. `sides=1` leaves out the output side (the paper's one-sided ablation, Table 2).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor

from study.methods.ether import NormalsConfig, NormalsLayer, random_normals
from study.methods.multiplicative import LowRank, Parameters, block_width, register, times
from study.methods.tuner.projections import as_rows, factors_of_rows, project, projected_linear, unit

RELAXED = (-1.0, 1.0)
"""I - u u^T + v v^T."""


@dataclass
class EtherPlusConfig(NormalsConfig):
    """ETHER+. 2 (d + f) parameters per layer with two sides, 2 d with one, whatever `blocks` is.

    Raises:
        ValueError: if `sides` is neither 1 nor 2.
    """

    sides: Literal[1, 2] = field(default=2, metadata={"help": "2, or 1 for the input side alone"})

    PEFT_NAME: ClassVar[str] = "ether_plus"

    def __post_init__(self) -> None:
        super().__post_init__()
        if type(self.sides) is not int or self.sides not in (1, 2):
            raise ValueError(f"sides must be 1 or 2, got {self.sides!r}")


class EtherPlusLayer(NormalsLayer):
    """y = H~+ W H+ x + b; u, v: (n, d/n) on the input side, (n, f/n) on the output side."""

    adapter_layer_names = (
        "ether_plus_u_in",
        "ether_plus_v_in",
        "ether_plus_u_out",
        "ether_plus_v_out",
    )

    def sides(self, adapter: str = "default") -> tuple[str, ...]:
        return ("in", "out")[: self.configs[adapter].sides]

    def initial(self, config: EtherPlusConfig, where: str) -> dict[str, Tensor]:
        widths = {"in": self.in_features, "out": self.out_features}
        tensors: dict[str, Tensor] = {}
        for side in ("in", "out")[: config.sides]:
            width = block_width(widths[side], config.blocks, f"{where} ({side}put side)")
            u = random_normals(config, width)
            tensors |= {f"ether_plus_u_{side}": u, f"ether_plus_v_{side}": -u}
        return tensors

    def pre(self, x: Tensor, p: Parameters) -> Tensor:
        return project(x, _normals(p, "in"), RELAXED)

    def post(self, y: Tensor, p: Parameters) -> Tensor:
        return project(y, _normals(p, "out"), RELAXED) if "ether_plus_u_out" in p else y

    @staticmethod
    def fused(x: Tensor, weight: Tensor, bias: Tensor | None, p: Parameters) -> Tensor:
        outer = _normals(p, "out") if "ether_plus_u_out" in p else None
        return projected_linear(x, weight, bias, RELAXED, _normals(p, "in"), outer)

    @staticmethod
    def closed_form(weights: Tensor, p: Parameters) -> LowRank:
        """W1 = W + (W C^T S) C on the input side, then W1 + D^T S (D W1) on the output side.

        C: (2n, d) and D: (2n, f) hold the normals u and v of a side as rows, S their signs -1 and 1.
        """
        units = _units(p, "in")
        rows, signs = as_rows(units), factors_of_rows(units, RELAXED)
        left = signs * times(weights, units)
        if "ether_plus_u_out" not in p:
            return LowRank(left, rows)
        units = _units(p, "out")
        outer, signs = as_rows(units), factors_of_rows(units, RELAXED)
        images = times(weights.mT, units) + (outer @ left.mT) @ rows  # D W1
        return LowRank(torch.cat([left, outer], -2), torch.cat([rows, signs * images], -2))


def _normals(p: Parameters, side: str) -> Tensor:
    """u and v of a side, (..., 2, n, b)."""
    return torch.stack([p[f"ether_plus_u_{side}"], p[f"ether_plus_v_{side}"]], -3)


def _units(p: Parameters, side: str) -> Tensor:
    """The same at length one."""
    return unit(_normals(p, side))


register(EtherPlusConfig, EtherPlusLayer)
