"""Full finetuning: every weight of the base model is trained, the baseline of the field; DreamBooth itself.

As a `peft` tuner like the others: the modules that hold weights stand under trained copies of these, so the
base model stays as it is, and what is saved are the trained weights. Each run therefore has a model of its
own: the base model's size in memory is needed again for the copy, and for Adam's two averages.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from peft import PeftConfig
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from study.methods.tuner.registry import register_tuner
from study.methods.tuner.unmixed import UnmixedTuner

PREFIX = "finetuned_"
"""What the names of trained copies begin with, by which `peft` finds them."""


@dataclass
class FullConfig(PeftConfig):
    """Options of full finetuning."""

    target_modules: list[str] | str | None = field(
        default=None,
        metadata={"help": "Names of modules to train, with all that is in them; by default the whole model"},
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Other modules to train and save, such as a new head"}
    )

    PEFT_NAME: ClassVar[str] = "full"

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.target_modules, str):
            self.target_modules = [self.target_modules]


class FullLayer(nn.Module, BaseTunerLayer):
    """A module that computes with trained copies of its weights, and of those of all modules in it.

    A copy is in the weight's dtype, or in float32 beside half precision. Several active adapters add up what
    each has changed. Whoever reads a weight of the module reads the trained one.

    Attributes:
        names: the weights' names in the module, by the attribute that holds their copies.
        lent: those of them that are another module's as well (tied weights), which merges them.
    """

    def __init__(self, base_layer: nn.Module, lent: Collection[str]) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.names = {PREFIX + name.replace(".", "__"): name for name, _ in base_layer.named_parameters()}
        self.lent = frozenset(lent)
        self.adapter_layer_names = tuple(self.names)  # type: ignore[assignment]
        self.merged_adapters: list[str] = []
        self._unmerged: dict[str, Tensor] = {}
        for attribute in self.names:
            setattr(self, attribute, nn.ParameterDict())

    def add_adapter(self, adapter_name: str, copies: Mapping[str, nn.Parameter]) -> None:
        """Adds trained copies, by the weights' names, beside those that are there."""
        for attribute, name in self.names.items():
            getattr(self, attribute)[adapter_name] = copies[name]

    def weights(self, adapters: Sequence[str]) -> dict[str, Tensor]:
        """What the module computes with, by name, in the dtype of its own weights; {} without adapters."""
        found = {}
        for attribute, name in self.names.items():
            copies = getattr(self, attribute)
            chosen = [copies[adapter] for adapter in adapters if adapter in copies]
            base = self._unmerged.get(name, self.base_layer.get_parameter(name))
            if len(chosen) == 1:
                found[name] = chosen[0].to(base.dtype)
            elif chosen:
                found[name] = base + sum(copy.to(base.dtype) - base for copy in chosen)
        return found

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return functional_call(self.base_layer, self._in_use(), args, kwargs)

    def _in_use(self) -> dict[str, Tensor]:
        """The weights that stand in for the module's own now."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        return {} if self.disable_adapters or self.merged else self.weights(self.active_adapters)

    def matrices(self, tensors: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """W: (f, d) and every run's W': (runs, f, d), in float64, of a linear layer or a convolution.

        Of a convolution d is input channels times the kernel's places, as in OFT's code.

        Args:
            tensors: the runs' copies, (runs, ...), by their names in this layer.
        """
        base = self.base_layer.get_parameter("weight").double()
        of_runs = tensors[f"{PREFIX}weight.default"].double()
        if isinstance(self.base_layer, Conv1D):
            return base.mT, of_runs.mT
        if isinstance(self.base_layer, _ConvNd) and self.base_layer.transposed:
            base, of_runs = base.transpose(0, 1), of_runs.transpose(1, 2)
        return base.flatten(1), of_runs.flatten(2)

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Puts the trained weights into the module. Copies of its own are kept.

        Raises:
            ValueError: if `safe_merge` and a weight is not finite.
        """
        adapter_names = check_adapters_to_merge(self, adapter_names)
        if not adapter_names:
            return
        merged = self.weights([*self.merged_adapters, *adapter_names])
        for name, weight in merged.items():
            if safe_merge and not torch.isfinite(weight).all():
                raise ValueError(f"the merged {name} of adapters {adapter_names} is not finite")
        for name in merged.keys() - self.lent:
            own = self.base_layer.get_parameter(name)
            self._unmerged.setdefault(name, own.data)
            own.data = merged[name].detach().clone()
        self.merged_adapters.extend(adapter_names)

    def unmerge(self) -> None:
        """Puts the module's own weights back, bit for bit; on the device and in the dtype it has now."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        for name, before in self._unmerged.items():
            own = self.base_layer.get_parameter(name)
            own.data = before.to(own)
        self._unmerged.clear()
        self.merged_adapters.clear()

    @property
    def weight(self) -> Any:
        return self._read("weight")

    @property
    def bias(self) -> Any:
        return self._read("bias")

    def __getattr__(self, name: str) -> Any:
        """What this class does not have is the module's, as models read it: a width, `padding_idx`, ..."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name in {"base_layer", "names"}:
                raise  # not there yet
            return self._read(name)

    def _read(self, name: str) -> Any:
        weights = self._in_use() if f"{PREFIX}{name}" in self.names else {}
        return weights[name] if name in weights else getattr(self.base_layer, name)

    def __repr__(self) -> str:
        return "full." + super().__repr__()


class FullModel(UnmixedTuner):
    """Puts a `FullLayer` over each of the outermost modules that hold weights themselves.

    Weights of the model itself (a parameter of its root module) cannot be had so, and are refused.
    """

    prefix = PREFIX
    tuner_layer_cls = FullLayer
    target_module_mapping: Any = {}

    def _prepare_adapter_config(self, peft_config: Any, model_config: dict[str, Any]) -> Any:
        return peft_config  # no target means the whole model

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        self._chosen = set(holders(model, peft_config))
        self._copies: dict[int, nn.Parameter] = {}
        """Of this adapter, by the id of the weight: tied weights are trained as one."""

    def _check_target_module_exists(self, peft_config: Any, key: str) -> bool:  # type: ignore[override]
        return key in self._chosen

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        base = target.base_layer if isinstance(target, FullLayer) else target
        own = dict(base.named_parameters())
        lent = [name for name, weight in own.items() if id(weight) in self._copies]
        for name, weight in own.items():
            if id(weight) not in self._copies:
                self._copies[id(weight)] = _trained_copy(weight, f"{current_key}.{name}")
        layer = target if isinstance(target, FullLayer) else FullLayer(target, lent)
        layer.add_adapter(adapter_name, {name: self._copies[id(weight)] for name, weight in own.items()})
        layer.set_adapter(layer.active_adapters if layer is target else adapter_name)
        if layer is not target:
            self._replace_module(parent, target_name, layer, target)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: Any, child: Any) -> None:
        setattr(parent, child_name, new_module)  # peft's takes for granted that the module has a `weight`


def holders(model: nn.Module, config: FullConfig) -> list[str]:
    """Names of the outermost modules that hold weights themselves, in what is to be trained.

    Raises:
        ValueError: if the model has no module of a name that is asked for, nothing is left to train, or
            something to train is held by the model's root, or together with what is trained as a head.
    """
    heads = tuple(config.modules_to_save or ())
    found: list[str] = []
    for name, module in model.named_modules():
        if any(name.startswith(f"{other}.") for other in found) or _within(name, heads):
            continue
        holds = isinstance(module, FullLayer) or next(module.parameters(recurse=False), None) is not None
        if not holds or not (config.target_modules is None or _within(name, config.target_modules)):
            continue
        if not name:
            held = ", ".join(n for n, _ in module.named_parameters(recurse=False))
            raise ValueError(f"the model's root holds {held} itself: name the modules in target_modules")
        if inside := [n for n, _ in module.named_modules() if n and _within(f"{name}.{n}", heads)]:
            raise ValueError(f"module {name} holds weights beside {inside[0]}, which is trained as a head")
        found.append(name)
    for target in config.target_modules or ():
        if not any(_within(name, [target]) for name in found):
            raise ValueError(
                f"target_modules: the model has no module {target} with weights of its own to train"
            )
    if not found:
        raise ValueError("the model has no weights to train")
    return found


def _within(name: str, modules: Collection[str]) -> bool:
    """Whether a module is one of `modules`, by the end of its name as `peft` matches them, or is in one."""
    return any(f".{module}." in f".{name}." for module in modules)


def _trained_copy(weight: Tensor, name: str) -> nn.Parameter:
    """In float32 where the weight is in less: steps of training would be lost in rounding.

    Raises:
        TypeError: if the weight is not in floating point.
    """
    if not weight.is_floating_point():
        raise TypeError(f"{name} is quantised ({weight.dtype}): full finetuning needs floating point")
    return nn.Parameter(weight.detach().to(torch.promote_types(weight.dtype, torch.float32), copy=True))


register_tuner("full", FullConfig, FullModel)
