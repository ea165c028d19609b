"""A method under test: two small linear layers, 24 -> 48 -> 24, adapted and moved."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from peft import get_peft_model
from torch import Tensor, nn

from study import methods
from study.errors import first_line
from study.methods.multiplicative import MultiplicativeLayer
from study.settings import MethodOptions
from study.testing.checks import need
from study.training.randomness import RunStreams

Options = MethodOptions

LAYERS = ["first", "second"]
MISFIT = 23
MOVE = 0.3
"""Checks move the parameters off their initialisation by normal noise of this size."""


@contextmanager
def quiet(seed: int) -> Iterator[None]:
    """Random numbers of its own, and without `peft`'s warnings."""
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        yield


class Toy(nn.Module):
    """Two frozen linear layers, d -> f -> d, drawn with seed 0."""

    def __init__(self, dtype: torch.dtype = torch.float64, d: int = 24, f: int = 48) -> None:
        super().__init__()
        with quiet(0):
            self.first, self.second = nn.Linear(d, f), nn.Linear(f, d)
        self.to(dtype).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x)))


class Trial:
    """A method's adapter on `Toy`, by default in evaluation mode and moved off its initialisation.

    In training mode, what it draws is the same in every forward: the numbers of run 0 in step 0.

    Attributes:
        exact: whether it is a multiplicative method; other tuners may compute in float32.
        close: the largest difference between float64 outputs that should be equal.
        x, y: an input, (5, 24), and what the model makes of it.
    """

    def __init__(
        self,
        name: str,
        options: Options,
        base: nn.Module | None = None,
        *,
        moved: bool = True,
        seed: int = 1,
        targets: Sequence[str] = LAYERS,
        training: bool = False,
    ) -> None:
        self.base = base or Toy()
        self.config = methods.config(name, copy.deepcopy(options), list(targets))
        self.of_peft = type(self.config).__module__.startswith("peft.")
        with quiet(seed):  # parameters are in the model's dtype, but in float32 beside bfloat16
            self.model: Any = get_peft_model(self.base, self.config).train(training)
        self.layers: dict[str, Any] = {name: self.base.get_submodule(name) for name in targets}
        self.exact = isinstance(self.layers["first"], MultiplicativeLayer)
        self.close = 1e-9 if self.exact else 1e-5
        self.x = normal(5, 24).to(next(self.base.parameters()).dtype)
        self._streams = RunStreams([0], torch.device("cpu"))
        if moved:
            self.move()

    @property
    def y(self) -> Tensor:
        return self.output(self.x)

    def output(self, x: Tensor) -> Tensor:
        """What the model makes of an input, (rows, 24)."""
        if not self.model.training:
            return self.model(x)
        return self._streams.call("contract", [0], lambda: self.model(x))

    def draws(self) -> bool:
        """Whether a forward draws at random."""
        return self._streams.draws("contract", [0], lambda: self.model(self.x))

    @property
    def trained(self) -> dict[str, nn.Parameter]:
        return {n: p for n, p in self.base.named_parameters() if p.requires_grad}

    @torch.no_grad()
    def move(self, seed: int = 2) -> None:
        """Moves all trained parameters, and puts them where `project` wants them."""
        for index, parameter in enumerate(self.trained.values()):
            parameter.add_(MOVE * normal(*parameter.shape, seed=100 * seed + index).to(parameter.dtype))
        for layer in self.layers.values():
            if self.exact and layer.projects(adapter := self.model.active_adapter):
                for name, value in layer.parameters_of(adapter).items():
                    value.copy_(layer.project(name, value))

    def same(self, a: Tensor, b: Tensor, what: str, fix: str) -> None:
        """Demands equal outputs: bit for bit of a multiplicative method."""
        need(torch.equal(a, b) if self.exact else far(a, b) < self.close, f"{what}, by {far(a, b):.2g}", fix)


def named(error: Exception) -> str:
    """`KeyError: 'x'`"""
    return f"{type(error).__name__}: {first_line(error)}"


def normal(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def far(a: Tensor, b: Tensor) -> float:
    """Largest difference; infinite where one is not finite or the shapes differ."""
    return float((a - b).abs().max().nan_to_num(float("inf"))) if a.shape == b.shape else float("inf")


@torch.no_grad()
def effective(layer: Any) -> tuple[Tensor, Tensor]:
    """W' (f, d) and the bias (f,) that a layer applies, from its images of the identity and of zero."""
    eye = torch.eye(layer.get_base_layer().in_features, dtype=torch.float64)
    images = layer(torch.cat([torch.zeros_like(eye[:1]), eye]))
    return (images[1:] - images[:1]).T, images[0]


def derivatives(loss: Tensor, of: Sequence[Tensor]) -> list[Tensor]:
    """Zeros where there is none."""
    grads = torch.autograd.grad(loss, of, allow_unused=True) if loss.requires_grad else [None] * len(of)
    return [torch.zeros_like(t) if grad is None else grad for grad, t in zip(grads, of, strict=True)]
