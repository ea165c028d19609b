"""One adapted linear layer as dense matrices, for the geometry: a function of the runs' tensors."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.func import functional_call
from transformers.pytorch_utils import Conv1D

from study.methods.full import FullLayer
from study.methods.multiplicative import MultiplicativeLayer
from study.training.packing.closed_forms import FormedLayer
from study.training.packing.functional import Tensors, map_over_runs, map_runs


@dataclass(frozen=True)
class AdaptedLayer:
    """A linear layer under an adapter. Its methods take the runs' tensors, (runs, ...), by their names in it.

    Attributes:
        module: the layer as `peft` has adapted it.
        untouched: those tensors of the base layer that the method changed when it was put in, as they
            were before.
        loop: whether vmap cannot map the module, so that the runs are taken one after the other.
        formed: its closed form, if it has one.
    """

    module: nn.Module
    untouched: Tensors
    loop: bool = False
    formed: FormedLayer | None = None

    def sides(self) -> tuple[str, ...]:
        """The sides on which a multiplicative method acts; none for the others."""
        return self.module.sides() if isinstance(self.module, MultiplicativeLayer) else ()

    @property
    def num_weights(self) -> int:
        """Numbers in the base layer: its weight's and its bias's."""
        assert isinstance(self.module, BaseTunerLayer)
        return sum(p.numel() for p in self.module.get_base_layer().parameters())

    @torch.no_grad()
    def effective_weights(self, tensors: Tensors) -> tuple[Tensor, Tensor]:
        """W: (f, d) and every run's W': (runs, f, d), in float64, in closed form or by feeding the identity.

        The latter is right for every method that is linear in its input, whatever it does inside. Full
        finetuning, which trains convolutions too, has its weights at hand.
        """
        if self.formed is not None and not self.untouched:
            return self.formed.weight.double(), self.formed.own_weights(tensors)
        if isinstance(self.module, FullLayer):
            return self.module.matrices(tensors)
        module = _double_copy(self.module)
        base: nn.Module = module.get_base_layer()  # type: ignore[operator]
        width = int(base.nx if isinstance(base, Conv1D) else base.in_features)  # type: ignore[arg-type]
        device = next(base.parameters()).device
        inputs = torch.zeros(width + 1, width, dtype=torch.float64, device=device)
        inputs[1:].fill_diagonal_(1.0)  # row 0 is the zero vector, whose image is the bias
        runs = len(next(iter(tensors.values())))
        images = map_runs(
            module, _in_double(tensors), inputs.expand(runs, -1, -1), self.loop
        )  # (runs, d + 1, f)
        plain = functional_call(base, _in_double(self.untouched), (inputs,))  # (d + 1, f)
        return (plain[1:] - plain[:1]).mT, (images[:, 1:] - images[:, :1]).mT

    @torch.no_grad()
    def dense_blocks(self, side: str, tensors: Tensors) -> Tensor:
        """One side's diagonal blocks of every run, (runs, n, b, b), in float64."""
        layer = self.module
        assert isinstance(layer, MultiplicativeLayer)
        by_name = {name.removesuffix(".default"): value for name, value in tensors.items()}

        def one(of_the_run: Tensors) -> Tensor:
            return layer.dense_blocks(side, parameters=of_the_run)

        runs = len(next(iter(by_name.values())))
        if runs > 1 and not self.loop:
            return map_over_runs(one, by_name)
        each = ({name: value[run] for name, value in by_name.items()} for run in range(runs))
        return torch.stack([one(of_the_run) for of_the_run in each])


def _in_double(value: Any) -> Any:
    """Floating tensors, dtypes and dicts of them as float64; anything else as it is."""
    if isinstance(value, Tensor):
        return value.double() if value.is_floating_point() else value
    if isinstance(value, torch.dtype):
        return torch.float64 if value.is_floating_point else value
    return {name: _in_double(part) for name, part in value.items()} if type(value) is dict else value


def _double_copy(module: nn.Module) -> nn.Module:
    """A copy in float64 and evaluation mode, with the plain attributes that tuners compute with."""
    module = copy.deepcopy(module).double().eval()
    for part in module.modules():
        attributes = vars(part)
        attributes.update({k: _in_double(v) for k, v in attributes.items() if not k.startswith("_")})
    return module
