"""One adapted layer for all runs of a pack: called once, and as dense weights for the geometry."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from transformers.pytorch_utils import Conv1D

from study.methods.multiplicative import MultiplicativeLayer


class PackedModule(nn.Module):
    """One adapted module for all runs at once: input (runs * batch, ...), output the same.

    `stacked` maps the inner module's tensor names to (runs, ...) tensors; `untouched` has those tensors of
    the base layer that the method changed when it was put in, as they were before.
    """

    def __init__(self, inner: nn.Module, runs: int) -> None:
        super().__init__()
        self.inner = inner
        self.runs = runs
        self.stacked: dict[str, Tensor] = {}
        self.untouched: dict[str, Tensor] = {}

    @staticmethod
    def call(inner: nn.Module, tensors: dict[str, Tensor], x: Tensor) -> Tensor:
        """The inner module with each run's own tensors: (runs, batch, ...) -> (runs, batch, ...)."""
        if len(x) == 1:
            alone = {name: value[0] for name, value in tensors.items()}
            return functional_call(inner, alone, (x[0],)).unsqueeze(0)

        def one(own: dict[str, Tensor], x_run: Tensor) -> Tensor:
            return functional_call(inner, own, (x_run,))

        return vmap(one, randomness="different")(tensors, x)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if args or kwargs:
            raise TypeError("a packed module takes one tensor")
        if x.shape[0] % self.runs:
            raise ValueError(f"the leading axis, {x.shape[0]}, is not runs ({self.runs}) * batch")
        return self.call(self.inner, self.stacked, x.unflatten(0, (self.runs, -1))).flatten(0, 1)

    def sides(self) -> tuple[str, ...]:
        """The sides on which a multiplicative method acts; none for the others."""
        return self.inner.sides() if isinstance(self.inner, MultiplicativeLayer) else ()

    @torch.no_grad()
    def effective_weights(self, runs: slice = slice(None)) -> tuple[Tensor, Tensor]:
        """W: (f, d) and W' of these runs: (runs, f, d), in float64, by feeding the layer the identity.

        Right for every method that is linear in its input, whatever it does inside.
        """
        inner = _double_copy(self.inner)
        base: nn.Module = inner.get_base_layer()  # type: ignore[operator]
        width = int(base.nx if isinstance(base, Conv1D) else base.in_features)  # type: ignore[arg-type]
        device = next(base.parameters()).device
        inputs = torch.zeros(width + 1, width, dtype=torch.float64, device=device)
        inputs[1:].fill_diagonal_(1.0)  # row 0 is the zero vector, whose image is the bias
        tensors = _in_double({name: value[runs] for name, value in self.stacked.items()})
        count = len(range(*runs.indices(self.runs)))
        images = self.call(inner, tensors, inputs.expand(count, -1, -1))  # (runs, d + 1, f)
        plain = functional_call(base, _in_double(self.untouched), (inputs,))  # (d + 1, f)
        return (plain[1:] - plain[:1]).mT, (images[:, 1:] - images[:, :1]).mT

    @torch.no_grad()
    def dense_blocks(self, side: str) -> Tensor:
        """One side's diagonal blocks of every run, (runs, n, b, b), in float64."""
        inner = self.inner
        assert isinstance(inner, MultiplicativeLayer)
        blocks = []
        for run in range(self.runs):
            self.take(run)
            blocks.append(inner.dense_blocks(side))
        return torch.stack(blocks)

    @torch.no_grad()
    def take(self, run: int) -> None:
        """Puts one run's tensors into the inner module itself."""
        tensors = dict([*self.inner.named_parameters(), *self.inner.named_buffers()])
        for name, value in self.stacked.items():
            tensors[name].data.copy_(value[run])


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
        own = vars(part)
        own.update({name: _in_double(value) for name, value in own.items() if not name.startswith("_")})
    return module
