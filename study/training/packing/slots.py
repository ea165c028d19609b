"""Where each trained tensor of an adapted model lives: in a module, and in columns of a run's vector."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from study.methods.full import FullLayer
from study.methods.multiplicative import MultiplicativeLayer
from study.training.packing.functional import Tensors


@dataclass(frozen=True)
class Slot:
    """One trained tensor: the next `size` columns of a run's vector, under a name in a module.

    Attributes:
        head: whether it belongs to a module that is trained beside the adapter.
        magnitude: whether it is a layer's output magnitudes, (f,).
        shared: other modules that hold the very same tensor, and its name there.
        hooks: what the method does to its gradient.
    """

    module: str
    tensor: str
    shape: torch.Size
    head: bool
    magnitude: bool
    shared: tuple[tuple[str, str], ...]
    hooks: tuple[Callable[[Tensor], Tensor | None], ...]

    @property
    def full_name(self) -> str:
        return f"{self.module}.{self.tensor}"

    @property
    def size(self) -> int:
        return self.shape.numel()

    @property
    def everywhere(self) -> tuple[tuple[str, str], ...]:
        """Each module that holds the tensor, and the tensor's name there."""
        return ((self.module, self.tensor), *self.shared)


def find_owners(model: nn.Module) -> dict[str, nn.Module]:
    """The outermost modules to map over the runs: tuner layers, and others with trained tensors."""
    owners: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if any(name == owner or name.startswith(f"{owner}.") for owner in owners):
            continue
        tuner = isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)
        if any(p.requires_grad for p in module.parameters(recurse=tuner)):
            owners[name] = module
    return owners


def is_slow_mapped(owner: nn.Module) -> bool:
    """Whether a module that is trained itself convolves: vmap over its weights gives grouped convolutions.

    Measured on a CPU, an encoder of four convolutions on 16 x 16 pixels beside a small UNet, batch 8, ms per
    run and step of the whole, mapped and run after run: 130 and 106 for 5 runs, 100 and 77 for 15.
    """
    trained = isinstance(owner, FullLayer) or not isinstance(owner, BaseTunerLayer)
    return trained and any(isinstance(module, _ConvNd) for module in owner.modules())


def find_slots(model: PeftModel, owners: dict[str, nn.Module]) -> list[Slot]:
    """One for each trained tensor, however many modules share it; those of heads come last.

    Raises:
        ValueError: if the method trains tensors outside the modules that it adapts.
    """
    trained: dict[int, Tensor] = {}
    names: dict[int, list[tuple[str, str]]] = {}
    for module, owner in owners.items():
        for tensor, value in owner.named_parameters():
            if value.requires_grad:
                trained[id(value)] = value
                names.setdefault(id(value), []).append((module, tensor))
    adapted = all(isinstance(o, BaseTunerLayer | AuxiliaryTrainingWrapper) for o in owners.values())
    trained_anywhere = {id(value) for value in model.parameters() if value.requires_grad}
    if not adapted or trained_anywhere - trained.keys():
        raise ValueError("trains tensors outside the modules that it adapts")
    slots = [
        Slot(
            *names[key][0],
            value.shape,
            head=not isinstance(owners[names[key][0][0]], BaseTunerLayer),
            magnitude=_is_magnitude(owners[names[key][0][0]], names[key][0][1]),
            shared=tuple(names[key][1:]),
            hooks=tuple((value._backward_hooks or {}).values()),
        )
        for key, value in trained.items()
    ]
    return sorted(slots, key=lambda slot: slot.head)


def _is_magnitude(owner: nn.Module, tensor: str) -> bool:
    return isinstance(owner, MultiplicativeLayer) and tensor.startswith(f"{owner.magnitude}.")


def tensors_of(flat: Tensor, slots: Sequence[Slot]) -> dict[str, Tensors]:
    """The runs' trained tensors, (runs, ...), by module, as views of `flat`: (runs, num_params)."""
    by_module: dict[str, Tensors] = {}
    for slot, columns in zip(slots, flat.split([slot.size for slot in slots], 1), strict=True):
        stacked = columns.unflatten(1, slot.shape)
        if slot.hooks and stacked.requires_grad:
            run_tensors = stacked.unbind()
            for run_tensor, hook in itertools.product(run_tensors, slot.hooks):
                run_tensor.register_hook(hook)
            stacked = torch.stack(run_tensors)
        for module, tensor in slot.everywhere:
            by_module.setdefault(module, {})[tensor] = stacked
    return by_module
