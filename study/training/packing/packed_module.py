"""Adapted modules in the midst of a model, each called once for all runs, for the time of one call."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar, Token
from typing import Any, Self

from torch import Tensor, nn
from torch.func import functional_call

from study.training.packing.functional import ModuleFunction, Tensors, map_runs
from study.training.packing.run_linear import RunLinear
from study.training.randomness import RunStreams, active_streams


class PackedModule(nn.Module):
    """One adapted module for all runs at once: input (runs * batch, ...), output the same.

    Models also read a layer's attributes (T5 the dtype of a weight): what it has not is the adapted module's,
    with the run's tensors in it. Of one run alone the module may take and give anything.

    Attributes:
        tensors: the runs', (runs, ...) each, by their names in the adapted module.
        linear: what the adapted module computes, in closed form for every run at once, where it has one.
        loop: whether the runs are computed one after the other.
    """

    def __init__(self, adapted: nn.Module, runs: int, loop: bool = False) -> None:
        super().__init__()
        self.adapted = adapted
        self.runs, self.loop = runs, loop
        self.tensors: Tensors = {}
        self.linear: RunLinear | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            adapted: Any = super().__getattr__("adapted")
        value = getattr(adapted, name)
        if isinstance(value, Tensor) and self.runs == 1:
            return self._of_one_run(ModuleFunction(adapted, lambda module: getattr(module, name)), "module.")
        if isinstance(value, Tensor) and value.requires_grad:
            raise TypeError(f"{name} is each run's own")
        return value

    def with_tensors(self, tensors: Tensors, linear: RunLinear | None) -> Self:
        """The same with other tensors. A shallow copy: to make a module takes 30 times as long."""
        module = object.__new__(type(self))
        module.__dict__ = vars(self) | {"tensors": tensors, "linear": linear}
        return module

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        streams = active_streams()
        with streams.adapted_layer() if streams else nullcontext():
            linear = self._linear_for(args[0]) if len(args) == 1 and not kwargs else None
            if linear:
                return linear(self._by_run(args[0])).flatten(0, 1)
            if self.runs == 1:
                return self._of_one_run(self.adapted, "", args, kwargs)
            if len(args) != 1 or kwargs:
                raise TypeError("a packed module takes one tensor")
            return map_runs(self.adapted, self.tensors, self._by_run(args[0]), self.loop).flatten(0, 1)

    def _linear_for(self, x: Tensor) -> RunLinear | None:
        """The closed form, where it can stand for the module: in its precision, unless a hook looks on."""
        fits = self.linear and x.dtype == self.linear.weight.dtype and not _is_watched(self.adapted)
        return self.linear if fits else None

    def _by_run(self, x: Tensor) -> Tensor:
        """(runs * batch, ...) -> (runs, batch, ...)."""
        if x.shape[0] % self.runs:
            raise ValueError(f"the leading axis, {x.shape[0]}, is not runs ({self.runs}) * batch")
        return x.unflatten(0, (self.runs, -1))

    def _of_one_run(
        self, module: nn.Module, prefix: str, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """What a module makes of the arguments with the only run's tensors, named there with a prefix."""
        tensors = {f"{prefix}{name}": value[0] for name, value in self.tensors.items()}
        return functional_call(module, tensors, args, kwargs)


def _is_watched(adapted: nn.Module) -> bool:
    """Whether the module, or one in it, must be called: a hook waits for it, or its `forward` is replaced."""
    return any(
        module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module)
        for module in adapted.modules()
    )


Seat = tuple[nn.Module, str]
"""A module's parent, and the module's name there."""

_seated: ContextVar[Seated | None] = ContextVar("seated", default=None)


class Seated:
    """While it is entered, the modules sit in the seats; afterwards those do that sat there before.

    It can be entered again, and within itself: gradient checkpointing computes a part of a call a second
    time in the backward pass, when the call has returned (`checkpoint_contexts`).
    """

    def __init__(self, seats: Sequence[Seat], modules: Sequence[nn.Module]) -> None:
        self.seats, self.modules = seats, modules
        self._left: list[tuple[list[nn.Module | None], Token[Seated | None]]] = []

    def __enter__(self) -> None:
        before = [parent._modules[name] for parent, name in self.seats]
        self._left.append((before, _seated.set(self)))
        self._seat(self.modules)

    def __exit__(self, *_: object) -> None:
        before, token = self._left.pop()
        _seated.reset(token)
        self._seat(before)

    def _seat(self, modules: Sequence[nn.Module | None]) -> None:
        for (parent, name), module in zip(self.seats, modules, strict=True):
            parent._modules[name] = module


def checkpoint_contexts() -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    """`context_fn` of `torch.utils.checkpoint`: what a packed call computes is computed again with the same
    modules in the same seats, and so with the same parameters; and with the same draws."""
    return nullcontext(), _again(_seated.get(), active_streams())


@contextmanager
def _again(seated: Seated | None, streams: RunStreams | None) -> Iterator[None]:
    with seated or nullcontext(), streams.entered() if streams else nullcontext():
        yield
