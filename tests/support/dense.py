"""The paper's formulas written out: explicit block-diagonal matrices times the weight, in float64.

Independent of `study`: it shares no code with the methods it checks. `paper_weight` is the paper's W,
(d, f), so that a layer computes (T W)^T x + b with T on the input side.
"""

from __future__ import annotations

import torch
from torch import Tensor

METHODS = ("ether", "ether_plus", "oft", "naive")


def householder(u: Tensor) -> Tensor:
    u = u / u.norm()
    return torch.eye(len(u), dtype=u.dtype) - 2 * torch.outer(u, u)


def relaxed(u: Tensor, v: Tensor) -> Tensor:
    u, v = u / u.norm(), v / v.norm()
    return torch.eye(len(u), dtype=u.dtype) - torch.outer(u, u) + torch.outer(v, v)


def rotation(r: Tensor) -> Tensor:
    skew, identity = 0.5 * (r - r.T), torch.eye(len(r), dtype=r.dtype)
    return (identity + skew) @ torch.linalg.inv(identity - skew)


def transforms(method: str, p: dict[str, Tensor]) -> tuple[Tensor, Tensor | None]:
    """The input-side and, if there is one, the output-side matrix of a method."""
    if method == "ether":
        return torch.block_diag(*map(householder, p["ether_u"])), None
    if method == "ether_plus":
        sides = []
        for side in ("in", "out"):
            u, v = p.get(f"ether_plus_u_{side}"), p.get(f"ether_plus_v_{side}")
            sides.append(None if u is None else torch.block_diag(*map(relaxed, u, v)))
        return sides[0], sides[1]
    if method == "oft":
        return torch.block_diag(*map(rotation, p["cayley_oft_r"])), None
    if method == "naive":
        return torch.block_diag(*p["naive_matrix"]), None
    raise KeyError(method)


def forward(method: str, p: dict[str, Tensor], weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    """weight: torch's (f, d); x: (tokens, d) -> (tokens, f)."""
    paper_weight = weight.T
    left, right = transforms(method, p)
    transformed = left @ paper_weight
    if right is not None:
        transformed = transformed @ right
    return (transformed.T @ x.T).T + bias
