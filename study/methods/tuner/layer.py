"""One linear layer under multiplicative adapters: forward, merge, unmerge and diagnostics, written once."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from study.methods.tuner.blocks import to_blocks
from study.methods.tuner.closed_form import ClosedForm

Parameters = Mapping[str, Tensor]
"""One adapter's tensors in one layer, by their names in `adapter_layer_names`."""

FLOATS = {torch.float16, torch.bfloat16, torch.float32, torch.float64}


def _unsupported(where: str, what: str) -> TypeError:
    return TypeError(
        f"{where} is {what}; multiplicative methods adapt torch.nn.Linear and transformers' Conv1D, "
        "unquantised"
    )


AWAY = 0.3
"""Standard deviation of the move away from the start of an adapter with `init_weights=False`."""


def _stands_for(cls: type, name: str, others: tuple[str, ...]) -> bool:
    """Whether what a class has under a name is as new as what it has under the others."""

    def age(of: str) -> int:
        return next(place for place, parent in enumerate(cls.__mro__) if of in vars(parent))

    return all(age(name) <= age(other) for other in others)


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

    has_fused: ClassVar[bool] = False
    """Whether the class has a `fused` that is as new as what it stands for."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.has_fused = _stands_for(cls, "fused", ("pre", "post"))

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
        self.magnitude = f"{config.PEFT_NAME}_magnitude"
        self.adapter_layer_names = (*type(self).adapter_layer_names, self.magnitude)
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
        """Fresh float32 parameters for this layer, one per name in the class's `adapter_layer_names`."""
        raise NotImplementedError

    def pre(self, x: Tensor, p: Parameters) -> Tensor:
        """The input-side transformation M: (..., d) -> (..., d)."""
        raise NotImplementedError

    def post(self, y: Tensor, p: Parameters) -> Tensor:
        """The output-side transformation N, before the bias: (..., f) -> (..., f)."""
        return y

    @staticmethod
    def closed_form(weights: Tensor, p: Parameters) -> ClosedForm:
        """What `pre` and `post` make of weights, for several layers and many runs at once.

        Optional: it makes packs fast. A function of its arguments alone.

        Args:
            weights: (layers, f, d).
            p: (layers, runs, ...) each.
        """
        raise NotImplementedError

    @staticmethod
    def fused(x: Tensor, weight: Tensor, bias: Tensor | None, p: Parameters) -> Tensor:
        """post(W pre(x)) + b at once, with a frozen weight and bias: (..., d) -> (..., f).

        Optional: it saves a training step outside packs time and memory. A function of its arguments alone.
        """
        raise NotImplementedError

    def projects(self, adapter: str = "default") -> bool:
        """Whether `project` does anything for this adapter."""
        return False

    def project(self, name: str, value: Tensor) -> Tensor:
        """Where a parameter belongs after a step of the optimizer; the study's trainer calls this."""
        return value

    def has_closed_form(self) -> bool:
        """Whether the class has a closed form that is as new as all that it stands for."""
        return _stands_for(
            type(self), "closed_form", ("pre", "post", "transformed", "forward", "base_weight")
        )

    # Written once --------------------------------------------------------------------------

    def sides(self, adapter: str = "default") -> tuple[str, ...]:
        """The sides on which this adapter acts: ("in",) or ("in", "out")."""
        return ("in",)

    def add_adapter(self, adapter_name: str, config: Any, where: str) -> None:
        """Adds a freshly initialised adapter beside those that are there."""
        self.configs[adapter_name] = config
        initial = self.initial(config, where)
        if config.magnitudes:
            initial[self.magnitude] = torch.ones(self.out_features)
        if not config.init_weights:
            initial = {name: value + AWAY * torch.randn_like(value) for name, value in initial.items()}
        for name, value in initial.items():
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

    def transformed(self, x: Tensor, adapters: list[str], bias: Tensor | None = None) -> Tensor:
        """m post(W pre(x)) + b: (..., d) -> (..., f), where m: (f,) are magnitudes, if trained.

        W' = N_k ... N_1 W M_1 ... M_k, magnitudes in the N: the adapter that became active
        last is the outermost.
        """
        chosen = [self.parameters_of(a) for a in adapters if a in self.configs]
        weight = self.base_weight()
        frozen = not (weight.requires_grad or (bias is not None and bias.requires_grad))
        if len(chosen) == 1 and self.magnitude not in chosen[0] and frozen and self.has_fused:
            return self.fused(x, weight, bias, chosen[0])
        for p in reversed(chosen):
            x = self.pre(x, p)
        one_sided = type(self).post is MultiplicativeLayer.post and not any(
            self.magnitude in p for p in chosen
        )
        y = F.linear(x.to(weight.dtype), weight, bias if one_sided else None)
        if one_sided:
            return y
        for p in chosen:
            y = self.post(y, p)
            if self.magnitude in p:
                y = y * p[self.magnitude].to(y.dtype)
        return y if bias is None else y + bias

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if self.disable_adapters and self.merged:
            self.unmerge()
        if self.disable_adapters or self.merged:
            return self.base_layer(x, *args, **kwargs)
        bias: Tensor | None = self.get_base_layer().bias  # type: ignore[assignment]
        return self.transformed(x, self.active_adapters, bias).to(x.dtype)

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
    def dense_blocks(
        self, side: str, adapter: str = "default", parameters: Parameters | None = None
    ) -> Tensor:
        """The diagonal blocks of one side's transformation, (n, b, b), in float64.

        Column j of every block at once is the image of the vector that has a one at place j of each
        block, so the blocks come out of `pre` and `post` themselves.

        Args:
            parameters: those to use instead of the adapter's of the same names.
        """
        chosen = self.parameters_of(adapter) | dict(parameters or {})
        p = {name: value.double() for name, value in chosen.items()}
        width = self.in_features if side == "in" else self.out_features
        blocks = self.configs[adapter].blocks
        b = width // blocks
        eye = torch.eye(b, dtype=torch.float64, device=self.base_weight().device)
        unit_vectors = eye.repeat(1, blocks)  # (b, n b): row j has a one at place j of each block
        images = (self.pre if side == "in" else self.post)(unit_vectors, p)  # (b, n b)
        return to_blocks(images, blocks).permute(1, 2, 0)

    def __repr__(self) -> str:
        return "multiplicative." + super().__repr__()
