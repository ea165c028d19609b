"""The shared tuner of all multiplicative methods: y = post(W pre(x)) + b, as `peft` tuners.

A multiplicative method replaces the weight W of a linear layer by a transformed one, W' = N W M.
Here it never touches W: M acts on the input (`pre`), N on the output before the bias (`post`),
which costs O(d) or O(d b) per token where the weight-side form costs O(d f b) per step and a
weight-sized gradient. The paper writes W as (d, f) and applies W^T; torch's `weight` is W^T, (f, d),
so the paper's "left of W" is the input side here.

A method is one file: a config (its options), a layer (its parameters, `pre`, and for two-sided
methods `post`), and a call of `register`. Forward, merge, unmerge, save and load are written here
once, on the base classes of `peft`, so everything a `peft` user knows works on it.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from peft import PeftConfig, PeftType
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING
from peft.tuners.tuners_utils import (
    BaseTuner,
    BaseTunerLayer,
    _maybe_include_all_linear_layers,
    check_adapters_to_merge,
)
from peft.utils import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING, register_peft_method
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from study.methods.registry import add_peft_type

Parameters = Mapping[str, Tensor]

FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


@dataclass
class MultiplicativeConfig(PeftConfig):
    """Options that every multiplicative method has.

    Raises:
        ValueError: if `blocks` is not a positive integer, or if `layers_to_transform` or `layers_pattern`
            would have no effect.
    """

    blocks: int = field(default=4, metadata={"help": "n, the number of diagonal blocks per side"})
    target_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Names, or a regular expression, of the modules to adapt"}
    )
    exclude_modules: list[str] | str | None = field(
        default=None, metadata={"help": "Names, or a regular expression, of modules to leave out"}
    )
    layers_to_transform: list[int] | int | None = field(
        default=None, metadata={"help": "Indices of the layers to adapt; all by default"}
    )
    layers_pattern: list[str] | str | None = field(
        default=None, metadata={"help": "Name of the ModuleList that holds the layers"}
    )
    modules_to_save: list[str] | None = field(
        default=None, metadata={"help": "Other modules to train and save, such as a new head"}
    )

    PEFT_NAME: ClassVar[str] = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.PEFT_NAME:
            self.peft_type = PeftType(self.PEFT_NAME.upper())
        if isinstance(self.blocks, bool) or not isinstance(self.blocks, int) or self.blocks < 1:
            raise ValueError(f"blocks must be a positive integer, got {self.blocks!r}")
        # As `peft`'s own configs do: its matching would silently ignore these options.
        if isinstance(self.target_modules, str):
            for name in ("layers_to_transform", "layers_pattern"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} cannot be used when target_modules is a string")
        if self.layers_pattern and self.layers_to_transform is None:
            raise ValueError("layers_pattern needs layers_to_transform")
        if isinstance(self.target_modules, list):
            self.target_modules = set(self.target_modules)  # type: ignore[assignment]
        if isinstance(self.exclude_modules, list):
            self.exclude_modules = set(self.exclude_modules)  # type: ignore[assignment]


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


def _unsupported(where: str, what: str) -> TypeError:
    return TypeError(
        f"{where} is {what}; multiplicative methods adapt torch.nn.Linear and transformers' Conv1D, "
        "unquantised"
    )


class MultiplicativeLayer(nn.Module, BaseTunerLayer):
    """A linear layer under one or more multiplicative adapters, applied in the order they are active.

    Subclasses set `adapter_layer_names`, write `initial`, `pre` and, if two-sided, `post`.

    Raises:
        TypeError: if the module is neither `nn.Linear` nor transformers' `Conv1D`, if its weight is
            quantised, or if another tuner adapts it already.
        ValueError: if the number of blocks does not divide the layer's width.
    """

    free_share: ClassVar[float] = 1.0
    """Degrees of freedom per trained number, for parameter counts as the paper states them."""

    def __init__(
        self, base_layer: nn.Module, adapter_name: str, config: Any, where: str = "the layer"
    ) -> None:
        super().__init__()
        self.base_layer = base_layer
        base = self.get_base_layer()
        if type(base) is nn.Linear:
            self.in_features, self.out_features = base.in_features, base.out_features
        elif isinstance(base, Conv1D):
            self.in_features, self.out_features = base.nx, base.nf
        else:
            raise _unsupported(where, f"a {type(base).__name__}")
        if base.weight.dtype not in FLOATS:
            raise _unsupported(where, f"a {type(base).__name__} with {base.weight.dtype} weights")
        if isinstance(base_layer, BaseTunerLayer):
            # The forward pass reads the innermost weight, so the adapter between would be left out.
            other = type(base_layer)
            raise _unsupported(where, f"adapted by {other.__module__}.{other.__name__} already")
        self.configs: dict[str, Any] = {}
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self._unmerged_weight: Tensor | None = None
        for name in self.adapter_layer_names:
            setattr(self, name, nn.ParameterDict())
        self._active_adapter = adapter_name
        self.add_adapter(adapter_name, config, where)

    # What a method writes ------------------------------------------------------------------

    def initial(self, config: Any, where: str) -> dict[str, Tensor]:
        """Fresh float32 parameters for this layer, one per name in `adapter_layer_names`."""
        raise NotImplementedError

    def pre(self, x: Tensor, p: Parameters) -> Tensor:
        """The input-side transformation M: (..., d) -> (..., d)."""
        raise NotImplementedError

    def post(self, y: Tensor, p: Parameters) -> Tensor:
        """The output-side transformation N, before the bias: (..., f) -> (..., f)."""
        return y

    def projects(self, adapter: str = "default") -> bool:
        """Whether `project` does anything for this adapter."""
        return False

    def project(self, name: str, value: Tensor) -> Tensor:
        """Where a parameter belongs after a step of the optimizer; the study's trainer calls this."""
        return value

    # Written once --------------------------------------------------------------------------

    def sides(self, adapter: str = "default") -> tuple[str, ...]:
        """The sides on which this adapter acts: ("in",) or ("in", "out")."""
        return ("in",)

    def add_adapter(self, adapter_name: str, config: Any, where: str) -> None:
        """Adds a freshly initialised adapter beside those that are there."""
        self.configs[adapter_name] = config
        for name, value in self.initial(config, where).items():
            getattr(self, name)[adapter_name] = nn.Parameter(value)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=config.inference_mode)

    def delete_adapter(self, adapter_name: str) -> None:
        super().delete_adapter(adapter_name)
        self.configs.pop(adapter_name, None)

    def parameters_of(self, adapter: str) -> dict[str, Tensor]:
        return {
            name: getattr(self, name)[adapter]
            for name in self.adapter_layer_names
            if adapter in getattr(self, name)
        }

    def base_weight(self) -> Tensor:
        """The base layer's weight as (f, d), whatever the layer's class stores."""
        base: Any = self.get_base_layer()
        return base.weight.T if isinstance(base, Conv1D) else base.weight

    def transformed(self, x: Tensor, adapters: list[str]) -> Tensor:
        """post(W pre(x)) without the bias: (..., d) -> (..., f).

        W' = N_k ... N_1 W M_1 ... M_k: the adapter that became active last is the outermost.
        """
        chosen = [self.parameters_of(a) for a in adapters if a in self.configs]
        for p in reversed(chosen):
            x = self.pre(x, p)
        weight = self.base_weight()
        y = F.linear(x.to(weight.dtype), weight)
        for p in chosen:
            y = self.post(y, p)
        return y

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.disable_adapters and self.merged:
            self.unmerge()
        if self.disable_adapters or self.merged:
            return self.base_layer(x, *args, **kwargs)
        y = self.transformed(x, self.active_adapters)
        bias: Tensor | None = self.get_base_layer().bias  # type: ignore[assignment]
        return (y if bias is None else y + bias).to(x.dtype)

    def merged_weight(self, adapters: list[str] | None = None) -> Tensor:
        """W', (f, d): the forward pass of the identity, so merge and forward cannot drift apart."""
        weight = self.base_weight()
        identity = torch.eye(self.in_features, dtype=weight.dtype, device=weight.device)
        return self.transformed(identity, adapters or self.active_adapters).T

    @torch.no_grad()
    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Replaces W by W'. A copy of W is kept: ETHER+ and Naive need not be invertible.

        Raises:
            ValueError: if `safe_merge` and W' is not finite.
        """
        adapter_names = [a for a in check_adapters_to_merge(self, adapter_names) if a in self.configs]
        if not adapter_names:
            return
        base: Any = self.get_base_layer()
        stored = base.weight.data.clone()
        merged = self.merged_weight(adapter_names)
        if safe_merge and not torch.isfinite(merged).all():
            raise ValueError(f"the merged weight of adapters {adapter_names} is not finite")
        if self._unmerged_weight is None:
            self._unmerged_weight = stored
        base.weight.data = (merged.T if isinstance(base, Conv1D) else merged).contiguous()
        self.merged_adapters.extend(adapter_names)

    def unmerge(self) -> None:
        """Puts the original weight back, bit for bit; on the device and in the dtype the layer has now."""
        if not self.merged:
            warnings.warn("Already unmerged. Nothing to do.", stacklevel=2)
            return
        assert self._unmerged_weight is not None
        base: Any = self.get_base_layer()
        base.weight.data = self._unmerged_weight.to(base.weight)  # .to() of the module passes the copy by
        self._unmerged_weight = None
        self.merged_adapters.clear()

    @torch.no_grad()
    def dense_blocks(self, side: str, adapter: str = "default") -> Tensor:
        """The diagonal blocks of one side's transformation, (n, b, b), in float64.

        Column j of every block at once is the image of the vector that has a one at place j of each
        block, so the blocks come out of `pre` and `post` themselves.
        """
        p = {name: value.double() for name, value in self.parameters_of(adapter).items()}
        width = self.in_features if side == "in" else self.out_features
        blocks = self.configs[adapter].blocks
        b = width // blocks
        eye = torch.eye(b, dtype=torch.float64, device=self.base_weight().device)
        unit_vectors = eye.repeat(1, blocks)  # (b, n b): row j has a one at place j of each block
        images = (self.pre if side == "in" else self.post)(unit_vectors, p)  # (b, n b)
        return to_blocks(images, blocks).permute(1, 2, 0)

    def __repr__(self) -> str:
        return "multiplicative." + super().__repr__()


class MultiplicativeModel(BaseTuner):
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

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """`peft` enters this around every forward pass. It drops `adapter_names` silently otherwise.

        Raises:
            ValueError: if `adapter_names` asks for several adapters in one batch.
        """
        if kwargs.get("adapter_names") is not None:
            raise ValueError(
                f"{type(self).__name__} does not support mixed batches (adapter_names); call set_adapter and "
                "pass the examples of each adapter in a batch of their own"
            )
        yield

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
