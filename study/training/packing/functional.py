"""Modules as functions of their tensors, over `torch.func`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call, vmap

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


def map_runs(module: nn.Module, tensors: Tensors, x: Tensor) -> Tensor:
    """The module with each run's tensors in the place of its own: (runs, batch, ...) -> (runs, batch, ...).

    One run alone skips vmap, which would cost it 20-40 %.

    Args:
        tensors: (runs, ...) each, by their names in the module.
    """
    if len(x) == 1:
        of_the_run = {name: value[0] for name, value in tensors.items()}
        return functional_call(module, of_the_run, (x[0],)).unsqueeze(0)

    def one(of_the_run: Tensors, x_run: Tensor) -> Tensor:
        return functional_call(module, of_the_run, (x_run,))

    return vmap(one, randomness="different")(tensors, x)
