"""What puts a multiplicative method's layers into a base model, and makes the method known to `peft`."""

from __future__ import annotations

import sys
from typing import Any

from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import _maybe_include_all_linear_layers
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, register_peft_method
from torch import nn

from study.methods.tuner.config import MultiplicativeConfig
from study.methods.tuner.layer import MultiplicativeLayer
from study.methods.tuner.registry import add_peft_type
from study.methods.tuner.unmixed import UnmixedTuner


class MultiplicativeModel(UnmixedTuner):
    """Puts a method's layer in the place of every target module."""

    prefix: str
    tuner_layer_cls: type[MultiplicativeLayer]
    target_module_mapping: Any = TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING

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
        where = f"layer {current_key}"
        if isinstance(target, self.tuner_layer_cls):
            target.add_adapter(adapter_name, peft_config, where)
            return
        layer = self.tuner_layer_cls(target, adapter_name, peft_config, where)
        if adapter_name not in self.active_adapters:
            layer.requires_grad_(False)
        self._replace_module(parent, target_name, layer, target)

    def _prepare_model(self, peft_config: Any, model: nn.Module) -> None:
        """Lets "all-linear" find the layers of an earlier adapter: `peft` expects "Linear" in their names."""
        targets = peft_config.target_modules
        _maybe_include_all_linear_layers(peft_config, model)
        if peft_config.target_modules is not targets:
            adapted = {n for n, m in model.named_modules() if isinstance(m, MultiplicativeLayer)}
            peft_config.target_modules |= adapted

    def add_weighted_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Refused: a weighted sum of reflections or rotations is neither.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{type(self).__name__} does not support add_weighted_adapter")

    def _check_merge_allowed(self) -> None:
        """`peft` warns of tied weights by the layer's name; merging one would change the other module too.

        Raises:
            ValueError: if an adapted layer shares its weight with another module.
        """
        super()._check_merge_allowed()
        owners: dict[int, list[str]] = {}
        for name, module in self.model.named_modules():
            for parameter in module.parameters(recurse=False):
                owners.setdefault(id(parameter), []).append(name.removesuffix(".base_layer"))
        for name, module in self.model.named_modules():
            if not isinstance(module, MultiplicativeLayer):
                continue
            sharing = [other for other in owners[id(module.weight)] if other != name]
            if sharing:
                raise ValueError(
                    f"layer {name} shares its weight with {', '.join(sharing)}, which merging would change "
                    "too; untie them first (tie_word_embeddings=False and a copy of the weight)"
                )


def register(config: type[MultiplicativeConfig], layer: type[MultiplicativeLayer]) -> None:
    """Registers a method with `peft` under `config.PEFT_NAME`; a second call changes nothing.

    The names in `layer.adapter_layer_names` must begin with `config.PEFT_NAME + "_"`, by which `peft`
    finds the adapter's tensors.

    Raises:
        ValueError: if a parameter's name has another beginning.
    """
    prefix = config.PEFT_NAME + "_"
    if bad := [n for n in layer.adapter_layer_names if not n.startswith(prefix)]:
        raise ValueError(f"parameters of {layer.__name__} must begin with {prefix!r}: {bad}")
    add_peft_type(config.PEFT_NAME.upper())
    if config.PEFT_NAME.upper() in PEFT_TYPE_TO_CONFIG_MAPPING:
        return
    model = type(
        layer.__name__.removesuffix("Layer") + "Model",
        (MultiplicativeModel,),
        {"prefix": prefix, "tuner_layer_cls": layer, "__module__": layer.__module__},
    )
    # Where pickle looks for it: torch.save of a whole model, or a process that is spawned.
    setattr(sys.modules[layer.__module__], model.__name__, model)
    register_peft_method(name=config.PEFT_NAME, config_cls=config, model_cls=model)
