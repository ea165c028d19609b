"""Modules as functions of their tensors, over `torch.func`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap

from study.training.randomness import active_streams

Tensors = dict[str, Tensor]
"""A module's tensors by their names in it; (runs, ...) where they are those of many runs."""


class ModuleFunction(nn.Module):
    """`function(module, *args)` as a module itself, for `functional_call`.

    The tensors of `module` have the names that they have in it, behind `module.`.
    """

    def __init__(self, module: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.module = module
        self.function = function

    def forward(self, *args: Any) -> Tensor:
        return self.function(self.module, *args)


def map_runs(module: nn.Module, tensors: Tensors, x: Tensor, loop: bool = False) -> Tensor:
    """The module with each run's tensors in the place of its own: (runs, batch, ...) -> (runs, batch, ...).

    One run alone skips vmap, which would cost it 20-40 %.

    Args:
        tensors: (runs, ...) each, by their names in the module.
        loop: one run after the other, for modules that vmap cannot map.
    """
    if loop or len(x) == 1:
        # Not value[run], whose gradient fills zeros for all runs, once for each run.
        of_runs = {name: value.unbind() for name, value in tensors.items()}
        each = [
            _one_run(module, {name: values[run] for name, values in of_runs.items()}, x_run, run)
            for run, x_run in enumerate(x.unbind())
        ]
        return torch.stack(each)

    def one(of_the_run: Tensors, x_run: Tensor) -> Tensor:
        return functional_call(module, of_the_run, (x_run,))

    return map_over_runs(one, tensors, x)


def map_over_runs(function: Callable[..., Tensor], *args: Any) -> Tensor:
    """`function` of every run's slice of the arguments, (runs, ...) each; draws are each run's own."""
    streams = active_streams()
    with streams.mapped() if streams else nullcontext():
        return vmap(function, randomness="different")(*args)


def _one_run(module: nn.Module, tensors: Tensors, x: Tensor, run: int) -> Tensor:
    streams = active_streams()
    with streams.only(run) if streams and streams.runs > 1 else nullcontext():
        return functional_call(module, tensors, (x,))
