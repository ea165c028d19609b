"""The base model that runs share stays as it was loaded: how it is kept so, and how a change is noticed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

CHUNK = 2**22
"""Elements whose sums are taken at a time: bounds the memory that this needs."""


class BaseChanged(RuntimeError):
    """A method has changed the base model, which all others share. Load it anew."""


def train_mode(model: nn.Module) -> None:
    """Training mode, but for layers with running statistics: these are used as they are stored.

    They belong to the base model. Statistics of a batch would also mix the runs that are folded into it.
    """
    model.train()
    for module in model.modules():
        if any("running_" in name for name, _ in module.named_buffers(recurse=False)):
            module.eval()


@contextlib.contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Inside, the model is in evaluation mode; afterwards every module is in the mode that it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


class BaseBuffers:
    """The persistent buffers of a base model, which a forward may move: counters, power iterations.

    Buffers that a checkpoint does not hold are caches of what can be computed again, and left alone.
    """

    def __init__(self, model: nn.Module) -> None:
        self._buffers = [buffer for _, buffer in _persistent_buffers(model)]
        self._before = [buffer.detach().clone() for buffer in self._buffers]

    @torch.no_grad()
    def put_back(self) -> None:
        """Undoes what in-place operations have done. BatchNorm's tell nobody, so nothing is asked."""
        if self._buffers:
            torch._foreach_copy_(self._buffers, self._before)


class BaseSeal:
    """Sums over every bit of a base model's parameters and persistent buffers."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._sums = _sums(model)

    def changed(self) -> list[str]:
        """Names of the tensors that are not what they were, bit for bit."""
        now = _sums(self._model)
        return sorted(n for n in self._sums.keys() | now.keys() if self._sums.get(n) != now.get(n))

    def check(self) -> None:
        """Raises BaseChanged, naming a tensor, if one is not what it was."""
        if changed := self.changed():
            raise BaseChanged(
                f"it changes {len(changed)} tensors of the base model, such as {changed[0]}: "
                "a method must leave those as they are"
            )


def _persistent_buffers(model: nn.Module) -> list[tuple[str, Tensor]]:
    stored = model.state_dict(keep_vars=True)
    return [(name, buffer) for name, buffer in model.named_buffers() if name in stored]


@torch.no_grad()
def _sums(model: nn.Module) -> dict[str, tuple[int, ...]]:
    tensors = dict([*model.named_parameters(), *_persistent_buffers(model)])
    sums = {name: _sums_of(tensor) for name, tensor in tensors.items() if not tensor.is_meta}
    return {name: tuple(both.tolist()) for name, both in sums.items()}


def _sums_of(tensor: Tensor) -> Tensor:
    """The sum of the elements as whole numbers, and that with weights by place, modulo 2^64: (2,)."""
    flat = tensor.detach().contiguous().flatten()
    sums = torch.zeros(2, dtype=torch.int64, device=tensor.device)
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64, 16: torch.int64}
    for number, part in enumerate(flat.view(whole[flat.element_size()]).split(CHUNK)):
        part = part.long()
        weights = torch.arange(1, 2 * len(part), 2, device=tensor.device).mul_(0x9E3779B97F4A7C1)
        sums += torch.stack([part.sum(), (part * weights).sum() * (2 * number + 1)])
    return sums
