"""Every draw at random of a pack's forward, from the stream of the run that it is for."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from contextvars import ContextVar
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from study.training.randomness import coordinates
from study.training.randomness.coordinates import mixed
from study.training.randomness.draws import DRAWS, SharedDraw, does_not_draw
from study.training.randomness.generators import (
    cpu_generator,
    device_position,
    python_states,
    seed_device,
    seeded,
)

T = TypeVar("T")

_active: ContextVar[RunStreams | None] = ContextVar("active_streams", default=None)


def active_streams() -> RunStreams | None:
    """The streams that draws are taken from just now."""
    return _active.get()


class RunStreams:
    """The random numbers of the runs of one pack: `streams.call(place, function)`.

    A number depends on the run's seed, the place, how many draws came before it there, and its coordinates
    in the run's own part of the tensor. The count of draws is kept as the seed of torch's CPU generator:
    gradient checkpointing puts that back before it computes a part again, which so draws the same.

    Watching every operation costs time, and most models draw nothing. The first call of a kind watches;
    where nothing was drawn, later ones only see to it that no generator has moved, and repeat the call if
    one has.

    Attributes:
        seeds: the runs', in the order in which they lead a batch.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device) -> None:
        self.seeds, self.device = list(seeds), device
        self._keys = [mixed(0, seed) for seed in seeds]
        self._run: int | None = 0 if len(seeds) == 1 else None
        self._mapped = False
        self._draws: dict[str, bool] = {}

    @property
    def runs(self) -> int:
        """How many."""
        return len(self.seeds)

    def call(self, kind: str, place: Sequence[int], function: Callable[[], T]) -> T:
        """`function()`, with its draws from the runs' streams.

        Args:
            kind: what is computed: `training`, `evaluation`, ...
            place: what tells this call from others of its kind, such as the step.

        Raises:
            SharedDraw: if several runs would have to share a draw.
        """
        start = mixed(0, len(kind))
        for number in (*kind.encode(), *place):
            start = mixed(start, number)
        with seeded(mixed(start, self.seeds[0])):
            python_before = python_states()
            cpu_generator().manual_seed(start)
            if self.known_to_draw_nothing(kind):
                cpu_before, device_before = cpu_generator().get_state(), device_position(self.device)
                result = function()
                same = torch.equal(cpu_before, cpu_generator().get_state())
                if same and device_before == device_position(self.device):
                    self._check_shared(python_before)
                    return result
                cpu_generator().manual_seed(start)
            watch = _Watch(self)
            with self.entered(watch):
                result = function()
            self._draws[kind] = self._draws.get(kind, False) or watch.seen
            self._check_shared(python_before)
            return result

    def known_to_draw_nothing(self, kind: str) -> bool:
        """Whether a call of this kind was watched, and none drew."""
        return self._draws.get(kind) is False

    def draws(self, kind: str, place: Sequence[int], function: Callable[[], object]) -> bool:
        """Whether `function` draws at random, with torch, numpy or Python."""
        moved = False

        def noted() -> None:
            nonlocal moved
            before = python_states()
            function()
            moved = python_states() != before

        self._draws.pop(kind, None)
        self.call(kind, place, noted)
        return self._draws[kind] or moved

    def _check_shared(self, python_before: Any) -> None:
        if self.runs > 1 and python_states() != python_before:
            raise SharedDraw("the model draws from numpy's or Python's generator, once for all runs")

    @contextlib.contextmanager
    def entered(self, watch: _Watch | None = None) -> Iterator[None]:
        """Inside, draws are taken from the streams, from the place where torch's CPU generator is."""
        token = _active.set(self)
        try:
            with watch or _Watch(self), _plain_attention(self.device):
                yield
        finally:
            _active.reset(token)

    @contextlib.contextmanager
    def adapted_layer(self) -> Iterator[None]:
        """Inside an adapted layer, which counts as one draw of the model, whatever the method draws.

        So the draws of the base model are the same beside every method.
        """
        generator = cpu_generator()
        place = generator.initial_seed()
        generator.manual_seed(mixed(place, 1))
        try:
            yield
        finally:
            generator.manual_seed(mixed(place))

    @contextlib.contextmanager
    def mapped(self) -> Iterator[None]:
        """Inside vmap: the runs are an axis of their own before the tensors' axes."""
        before, self._mapped = self._mapped, True
        try:
            yield
        finally:
            self._mapped = before

    @contextlib.contextmanager
    def only(self, run: int) -> Iterator[None]:
        """Inside, one run computes alone; afterwards the next starts from the same place."""
        generator, before = cpu_generator(), self._run
        place, self._run = generator.initial_seed(), run
        try:
            yield
        finally:
            self._run = before
            generator.manual_seed(place)

    # Numbers of one draw -----------------------------------------------------------------------

    def uniform(self, shape: Sequence[int]) -> Tensor:
        """Uniform in [0, 1), float32, of this shape."""
        return self._numbers(coordinates.uniform, shape)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard normal, float32, of this shape."""
        return self._numbers(coordinates.normal, shape)

    def _numbers(self, numbers: Callable[..., Tensor], shape: Sequence[int]) -> Tensor:
        place = self._next_place()
        if self._run is not None:
            return numbers([mixed(self._keys[self._run], place)], shape, self.device)[0]
        runs, keys = self.runs, [mixed(key, place) for key in self._keys]
        if not shape or (shape[0] != runs if self._mapped else shape[0] % runs):
            raise SharedDraw(f"the model draws numbers of shape {tuple(shape)} once for all runs")
        if self._mapped:
            return numbers(keys, shape[1:], self.device)
        return numbers(keys, (shape[0] // runs, *shape[1:]), self.device).flatten(0, 1)

    def _next_place(self) -> int:
        generator = cpu_generator()
        place = generator.initial_seed()
        generator.manual_seed(mixed(place))
        return place

    def draw(self, operation: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """What a random operation gives.

        Raises:
            SharedDraw: if its numbers cannot be each run's own.
        """
        if operation in DRAWS:
            return DRAWS[operation](self, *args, **{k: v for k, v in kwargs.items() if k != "generator"})
        if self._run is None:
            raise SharedDraw(f"the model draws with {operation}, whose numbers cannot be each run's own")
        place = self._next_place()
        seed_device(self.device, mixed(self._keys[self._run], place))
        result = operation(*args, **kwargs)
        cpu_generator().manual_seed(mixed(place))
        return result


class _Watch(TorchDispatchMode):
    """Sees every operation, and takes the random ones' numbers from the streams.

    Attributes:
        seen: whether there was one.
    """

    def __init__(self, streams: RunStreams) -> None:
        super().__init__()
        self.streams = streams
        self.seen = False

    def __torch_dispatch__(self, operation: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.Tag.nondeterministic_seeded in operation.tags:
            kwargs = kwargs or {}
            if not does_not_draw(operation, args, kwargs):
                self.seen = True
                return self.streams.draw(operation, args, kwargs)
        return operation(*args, **(kwargs or {}))


class _PlainAttention(TorchFunctionMode):
    """Attention with dropout in plain operations: fused kernels draw where no stream reaches."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if function is F.scaled_dot_product_attention:
            dropout_p = kwargs.get("dropout_p", args[4] if len(args) > 4 else 0.0)
            if dropout_p:
                with sdpa_kernel(SDPBackend.MATH):
                    return function(*args, **kwargs)
        return function(*args, **kwargs)


def _plain_attention(device: torch.device) -> AbstractContextManager[Any]:
    """On a GPU; the CPU has no fused kernel with dropout."""
    return contextlib.nullcontext() if device.type == "cpu" else _PlainAttention()
