"""The adapted layers of a model that have a closed form, and what it is for every run.

The others are mapped over the runs, whatever the method: those of methods without one, of options that a
form does not know, and of precisions in which a run's own weight would lose its digits.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear as LoraLinear
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from study.methods.multiplicative import ClosedForm, LowRank, MultiplicativeLayer
from study.training.packing.functional import Tensors
from study.training.packing.run_linear import RunLinear, is_small, pays

MOST_STACKED = 512
"""Numbers that a run has in a layer, for layers to be computed together: what is saved in calls must not be
lost in copies, there and in the backward pass."""

FormFunction = Callable[[Tensor, Tensors], ClosedForm]
"""Of weights, (layers, f, d), and parameters, (layers, runs, ...)."""


@dataclass(frozen=True)
class FormedLayer:
    """An adapted layer with a closed form.

    Attributes:
        layer: as `peft` has adapted it.
        function: its form, of layers of its kind.
        parameters: the form's parameters: their names there, and in the layer.
        magnitudes: the name in the layer of its output magnitudes; None without.
        kind: what layers that are computed together have in common, beside their shapes.
    """

    layer: nn.Module
    function: FormFunction
    parameters: Mapping[str, str]
    magnitudes: str | None
    kind: Hashable

    @property
    def base(self) -> Any:
        """The linear layer below."""
        assert isinstance(self.layer, BaseTunerLayer)
        return self.layer.get_base_layer()

    @property
    def weight(self) -> Tensor:
        """(f, d), whatever the base layer stores."""
        weight: Tensor = self.base.weight
        return weight.T if isinstance(self.base, Conv1D) else weight

    def own_weights(self, tensors: Tensors) -> Tensor:
        """Every run's W', (runs, f, d), in float64.

        Args:
            tensors: the runs', (runs, ...), by their names in the layer.
        """
        weight = self.weight.double()
        of_one_layer = {name: tensors[known].double()[None] for name, known in self.parameters.items()}
        (form,) = self.function(weight[None], of_one_layer).by_layer()
        own = RunLinear(weight, None, form, None).own_weights().mT
        return own if self.magnitudes is None else own * tensors[self.magnitudes].double().unsqueeze(-1)


class ClosedForms:
    """The closed forms of a model's adapted layers.

    Args:
        owners: the adapted modules by name.
        shapes: of the tensors that differ between the runs, without the axis of runs, by module and name.
    """

    def __init__(
        self, owners: Mapping[str, nn.Module], shapes: Mapping[str, Mapping[str, torch.Size]]
    ) -> None:
        self._groups: dict[Hashable, dict[str, FormedLayer]] = {}
        for name, owner in owners.items():
            formed = _formed(owner, shapes.get(name, {}))
            if formed is not None:
                # Neither weights of a large layer nor many parameters are copied beside others'.
                numbers = sum(shapes[name][known].numel() for known in formed.parameters.values())
                together = is_small(formed.weight) and numbers <= MOST_STACKED
                place = formed.weight.shape if together else name
                key = (formed.kind, place, tuple(shapes[name].items()))
                self._groups.setdefault(key, {})[name] = formed

    def layers(self) -> dict[str, FormedLayer]:
        """The layers that have a closed form, by name."""
        return {name: formed for layers in self._groups.values() for name, formed in layers.items()}

    def of(self, tensors: Mapping[str, Tensors]) -> dict[str, RunLinear]:
        """The layers for every run at once, by name.

        Args:
            tensors: the runs', (runs, ...) each, by module and name.
        """
        linears = {}
        for layers in self._groups.values():
            first = next(iter(layers.values()))
            weights = _stacked([each.weight for each in layers.values()])
            parameters = {
                name: _stacked([tensors[layer][in_layer] for layer in layers])
                for name, in_layer in first.parameters.items()
            }
            forms: Sequence[ClosedForm] = first.function(weights, parameters).by_layer()
            for (name, formed), form in zip(layers.items(), forms, strict=True):
                magnitudes = tensors[name][formed.magnitudes] if formed.magnitudes else None
                linears[name] = RunLinear(formed.weight, formed.base.bias, form, magnitudes)
        return linears


def _stacked(of_layers: Sequence[Tensor]) -> Tensor:
    """(layers, ...); that of a single layer is not copied."""
    return torch.stack([*of_layers]) if len(of_layers) > 1 else of_layers[0].unsqueeze(0)


def _formed(owner: nn.Module, shapes: Mapping[str, torch.Size]) -> FormedLayer | None:
    """None if it must be mapped over the runs."""
    if not isinstance(owner, BaseTunerLayer) or owner.disable_adapters or owner.merged:
        return None
    base = owner.get_base_layer()
    if type(base) not in (nn.Linear, Conv1D) or base.weight.dtype != torch.float32:
        return None
    if owner.base_layer is not base or owner.active_adapters != ["default"]:
        return None
    of_method = _multiplicative(owner, shapes) if isinstance(owner, MultiplicativeLayer) else None
    formed = of_method or _lora(owner, shapes)
    if formed is None:
        return None
    with torch.device("meta"):
        parameters = {name: torch.empty(1, 1, *shapes[known]) for name, known in formed.parameters.items()}
        form = formed.function(torch.empty(1, *formed.weight.shape), parameters)
    return formed if pays(form, formed.weight) else None


def _multiplicative(layer: MultiplicativeLayer, shapes: Mapping[str, torch.Size]) -> FormedLayer | None:
    if not layer.has_closed_form():
        return None
    function = type(layer).closed_form
    own = {name: f"{name}.default" for name in layer.parameters_of("default")}
    if set(own.values()) != set(shapes):  # something else differs between the runs
        return None
    magnitudes = own.pop(layer.magnitude, None)
    return FormedLayer(layer, function, own, magnitudes, function)


def _lora(layer: BaseTunerLayer, shapes: Mapping[str, torch.Size]) -> FormedLayer | None:
    """Plain LoRA alone: y = W x + s B A x."""
    own = {"a": "lora_A.default.weight", "b": "lora_B.default.weight"}
    if type(layer) is not LoraLinear or layer.lora_variant or set(own.values()) != set(shapes):
        return None
    if type(layer.lora_dropout["default"]) is not nn.Identity or layer.lora_B["default"].bias is not None:
        return None
    scaling = float(layer.scaling["default"])
    return FormedLayer(layer, partial(_lora_form, scaling), own, None, ("lora", scaling))


def _lora_form(scaling: float, weights: Tensor, p: Tensors) -> LowRank:
    b = p["b"].mT
    return LowRank(b if scaling == 1.0 else scaling * b, p["a"])
