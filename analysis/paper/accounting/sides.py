"""The ways in which a method is applied to a model, see `side` in `analysis.paper.accounting.compute`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from peft import get_peft_model
from torch import Tensor, nn

from study import methods
from study.methods.ether import unit
from study.methods.oft import cayley

TARGETS = ["q_proj", "v_proj"]


class WeightSide(nn.Module):
    """The published code's form: T (n, d/n, d/n), built from its parameters, times the weight (d, f)."""

    def __init__(self, base: nn.Linear, method: str, blocks: int, dense: bool = False) -> None:
        super().__init__()
        self.base, self.method, self.dense = base, method, dense
        widths = [base.in_features // blocks]
        if method == "ether_plus":
            widths = 2 * [*widths, base.out_features // blocks]  # u of both sides, v of both
        shapes = [(blocks, b, b) if method == "oft" else (blocks, b) for b in widths]
        self.values = nn.ParameterList(torch.empty(shape, device="meta") for shape in shapes)

    def transforms(self) -> list[Tensor]:
        """(n, b, b) of the input side and, for ETHER+, of the output side."""
        if self.method == "oft":
            return [cayley(self.values[0])]
        units = [unit(value) for value in self.values]
        outer = [u.unsqueeze(-1) * u.unsqueeze(-2) for u in units]
        eyes = [torch.eye(o.shape[-1], device=o.device) for o in outer]
        if self.method == "ether":
            return [eyes[0] - 2 * outer[0]]
        return [eyes[side] - outer[side] + outer[side + 2] for side in (0, 1)]

    def forward(self, x: Tensor) -> Tensor:
        weight, (left, *right) = self.base.weight.T, self.transforms()  # (d, f)
        blocks = len(left)
        if self.dense:
            weight = torch.block_diag(*left) @ weight
        else:
            weight = torch.bmm(left, weight.reshape(blocks, -1, weight.shape[1])).flatten(0, 1)
        if right:
            columns = weight.unflatten(1, (blocks, -1)).transpose(0, 1)  # (n, d, f/n)
            weight = torch.bmm(columns, right[0]).transpose(0, 1).flatten(1)
        return F.linear(x, weight.T, self.base.bias)


def bare(model: nn.Module) -> nn.Module:
    """The frozen model, from whose first q and v on everything has a gradient."""
    for _, layer in _targets(model, TARGETS)[: len(TARGETS)]:
        layer.register_forward_hook(lambda module, inputs, output: output.requires_grad_())
    return model


def weight_side(model: nn.Module, method: str, blocks: int, dense: bool) -> nn.Module:
    """The model with the published code's layers on q and v, and k's part of the fused gradient."""
    for _, layer in _targets(model, ["k_proj"]):
        layer.weight.requires_grad_()
    for name, layer in _targets(model, TARGETS):
        parent, _, attribute = name.rpartition(".")
        setattr(model.get_submodule(parent), attribute, WeightSide(layer, method, blocks, dense))
    return model


def adapted(model: nn.Module, method: str, **options: int) -> nn.Module:
    """The model with the project's (or `peft`'s) own layers on q and v, changed in place."""
    get_peft_model(model, methods.config(method, options, TARGETS), low_cpu_mem_usage=True)
    return model


def _targets(model: nn.Module, names: list[str]) -> list[tuple[str, nn.Linear]]:
    """The linear layers of these names, each with its path in the model."""
    named = [(n, m) for n, m in model.named_modules() if n.rpartition(".")[2] in names]
    return [(n, m) for n, m in named if isinstance(m, nn.Linear)]
