"""Many runs of one method over one shared frozen base model, in one forward and backward.

The runs' adapter parameters are stacked on a leading axis and live in one matrix, `flat`: (runs,
trained numbers). The runs are folded into the batch, (runs * batch, ...), and mapped with
`torch.func.vmap` and `functional_call`, whatever the method, in one of two ways:

- by layers: the base model runs as it is; every module that owns trained tensors is replaced by a
  `PackedModule`, which unfolds the runs and maps the original module over them. The faster way.
- whole: the model's forward is mapped. For models that feed an adapted layer something without a batch
  axis, as DeBERTa its shared relative positions. Fails where a per-run padding mask meets SDPA.

One run alone skips vmap, which would cost it 20-40 %.

    pack = Pack(base, config, seeds=[0, 1, 2])
    pack.bind()                      # the adapters become views of the runs' parameters
    outputs = pack.forward(task.forward, batch)  # batch: (runs * batch, ...)
    pack.close()                     # base is as it was
"""

from __future__ import annotations

import copy
import itertools
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import PeftConfig, PeftModel, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer, check_target_module_exists
from peft.utils.other import AuxiliaryTrainingWrapper
from torch import Tensor, nn
from torch.func import functional_call, vmap
from transformers.pytorch_utils import Conv1D

from study.methods.multiplicative import MultiplicativeConfig, MultiplicativeLayer
from study.training.packed_module import PackedModule

Forward = Callable[[nn.Module, dict[str, Tensor]], Tensor]
"""What a task makes of a model and a batch: one row per example."""


@dataclass(frozen=True)
class Slot:
    """Where one trained tensor lives: columns of `flat`, and a name inside a module."""

    module: str
    tensor: str
    shape: torch.Size
    head: bool  # in a module that is trained beside the adapter
    shared: tuple[tuple[str, str], ...]  # other modules with the very same tensor, and its name there
    hooks: tuple[Callable[[Tensor], Tensor | None], ...]  # what the method does to its gradient

    @property
    def full_name(self) -> str:
        return f"{self.module}.{self.tensor}"


def _put(model: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, child = name.rpartition(".")
    setattr(model.get_submodule(parent), child, module)


def _at_risk(base: nn.Module, config: PeftConfig) -> list[nn.Parameter]:
    """Base weights that the method might replace when it is put in, as PiSSA does: those it adapts.

    The multiplicative methods never touch one, and a copy of all would double a large model.
    """
    if isinstance(config, MultiplicativeConfig) or next(base.parameters()).is_meta:
        return []
    adapted = [
        module
        for name, module in base.named_modules()
        if config.target_modules in (None, "all-linear") or check_target_module_exists(config, name)  # type: ignore[attr-defined]
    ]
    return list(dict.fromkeys(weight for module in adapted for weight in module.parameters()))


def _owners(model: nn.Module) -> dict[str, nn.Module]:
    """The outermost modules to map over the runs: tuner layers, and others with trained tensors."""
    owners: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        if any(name == owner or name.startswith(f"{owner}.") for owner in owners):
            continue
        tuner = isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)
        if any(p.requires_grad for p in module.parameters(recurse=tuner)):
            owners[name] = module
    return owners


class _Forward(nn.Module):
    """A function of a model and a batch as a module, for `functional_call`."""

    def __init__(self, model: nn.Module, function: Forward) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.function(self.model, batch)


class Pack:
    """The runs of one method that differ in seed (and in what their optimizer does), over one model.

    Args:
        whole: map the whole model over the runs, not its adapted layers.

    Attributes:
        runs: how many.
        slots: where each trained tensor lives in a row of parameters; head tensors come last.
        adapters, heads: per run, the leaf vectors that are trained: (numbers,) each, float32.
        flat: (runs, trained numbers), what `bind` put in the model last; gradients pass through it.

    Raises:
        UsageError, ValueError, TypeError: from the method, if it does not fit the model.
    """

    def __init__(
        self, base: nn.Module, config: PeftConfig, seeds: Sequence[int], whole: bool = False
    ) -> None:
        self.base = base
        self.runs = len(seeds)
        self.by_layers = not whole or self.runs == 1
        self.device = next(base.parameters()).device
        self._before = [(weight, weight.detach().clone()) for weight in _at_risk(base, config)]
        states = {seed: self._initial_state(config, seed) for seed in dict.fromkeys(seeds)}
        self.peft_model = self._inject(config, seeds[0])
        changed = self._changed()
        self._before = [(weight, before) for weight, before in self._before if id(weight) in changed]
        owners = _owners(base)
        self.slots = sorted(self._slots(owners), key=lambda slot: slot.head)
        self.free_share = next(
            (o.free_share for o in owners.values() if isinstance(o, MultiplicativeLayer)), 1.0
        )
        rows = [[states[seed][slot.full_name].float().flatten() for slot in self.slots] for seed in seeds]
        split = sum(not slot.head for slot in self.slots)
        self.adapters = [torch.cat(row[:split]).requires_grad_() for row in rows]
        self.heads = [torch.cat(row[split:]).requires_grad_() for row in rows if row[split:]]
        self.flat: Tensor | None = None
        self.packed: dict[str, PackedModule] = {}
        for name, owner in owners.items():
            self.packed[name] = PackedModule(owner, self.runs)
            if isinstance(owner, BaseTunerLayer):
                weights = owner.get_base_layer().named_parameters()
                self.packed[name].untouched = {n: changed[id(w)] for n, w in weights if id(w) in changed}
        self.show_packed()
        # Tensors that a method draws anew for each seed without training them.
        trained = {f"{m}.{t}" for slot in self.slots for m, t in ((slot.module, slot.tensor), *slot.shared)}
        for full_name in states[seeds[0]].keys() - trained:
            values = [states[seed][full_name] for seed in seeds]
            if any(not torch.equal(values[0], value) for value in values[1:]):
                name = max((n for n in owners if full_name.startswith(f"{n}.")), key=len)
                self.packed[name].stacked[full_name.removeprefix(f"{name}.")] = torch.stack(values)

    def _inject(self, config: PeftConfig, seed: int) -> PeftModel:
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # peft's advice on defaults; errors are still raised
            torch.manual_seed(seed)
            model = get_peft_model(self.base, copy.deepcopy(config))
        if getattr(self.base, "is_activation_checkpointing", False):
            # peft asks for gradients down to the embeddings, which reentrant checkpointing alone needs.
            self.base.disable_input_require_grads()  # type: ignore[operator]
        assert isinstance(model, PeftModel)
        return model

    def _initial_state(self, config: PeftConfig, seed: int) -> dict[str, Tensor]:
        """Every tensor of the adapted modules as this seed draws them, but what is the base layer's own."""
        model = self._inject(config, seed)
        changed = self._changed()
        state = {}
        for name, owner in _owners(self.base).items():
            for tensor, value in [*owner.named_parameters(), *owner.named_buffers()]:
                own = not tensor.startswith(("base_layer.", "original_module."))
                if own or value.requires_grad or id(value) in changed:
                    state[f"{name}.{tensor}"] = value.detach().clone()
        model.unload()
        self._restore()
        return state

    def _changed(self) -> dict[int, Tensor]:
        """Base weights that the method has replaced by others, as they were, by the id of the parameter."""
        return {id(w): before for w, before in self._before if not torch.equal(w.detach(), before)}

    def _restore(self) -> None:
        changed = self._changed()
        for weight, before in self._before:
            if id(weight) in changed:
                weight.data = before.clone()

    def _slots(self, owners: dict[str, nn.Module]) -> list[Slot]:
        """One for each trained tensor, however many modules share it."""
        trained: dict[int, Tensor] = {}
        places: dict[int, list[tuple[str, str]]] = {}
        for name, owner in owners.items():
            for tensor, value in owner.named_parameters():
                if value.requires_grad:
                    trained[id(value)] = value
                    places.setdefault(id(value), []).append((name, tensor))
        adapted = all(isinstance(o, BaseTunerLayer | AuxiliaryTrainingWrapper) for o in owners.values())
        everywhere = {id(value) for value in self.peft_model.parameters() if value.requires_grad}
        if not adapted or everywhere - trained.keys():
            raise ValueError("trains tensors outside the modules that it adapts")
        return [
            Slot(
                *places[key][0],
                value.shape,
                head=not isinstance(owners[places[key][0][0]], BaseTunerLayer),
                shared=tuple(places[key][1:]),
                hooks=tuple((value._backward_hooks or {}).values()),
            )
            for key, value in trained.items()
        ]

    def show_packed(self) -> None:
        """Puts the packed modules into the base model, if it is by layers that the runs are mapped."""
        if self.by_layers:
            for name, module in self.packed.items():
                _put(self.base, name, module)

    def show_inner(self) -> None:
        """Puts the adapted modules themselves there."""
        for name, module in self.packed.items():
            _put(self.base, name, module.inner)

    def forward(self, function: Forward, batch: dict[str, Tensor]) -> Tensor:
        """`function(model, batch)` of every run: (runs * batch, ...) -> (runs * batch, ...)."""
        if self.by_layers:
            return function(self.base, batch)
        module = _Forward(self.base, function)
        stacked = {
            f"model.{name}.{tensor}": value
            for name, packed in self.packed.items()
            for tensor, value in packed.stacked.items()
        }
        unfolded = {name: value.unflatten(0, (self.runs, -1)) for name, value in batch.items()}

        def one(own: dict[str, Tensor], batch_of_run: dict[str, Tensor]) -> Tensor:
            return functional_call(module, own, (batch_of_run,))

        return vmap(one, randomness="different")(stacked, unfolded).flatten(0, 1)

    @property
    def parameters(self) -> int:
        """Trained numbers of one run as the paper counts them: degrees of freedom, heads included."""
        adapter = int(self.adapters[0].numel() * self.free_share)
        return adapter + (self.heads[0].numel() if self.heads else 0)

    def bind(self) -> Tensor:
        """Makes the model compute with the runs' current parameters; returns `flat`."""
        self.flat = torch.stack(self.adapters)
        if self.heads:
            self.flat = torch.cat([self.flat, torch.stack(self.heads)], 1)
        parts = self.flat.split([slot.shape.numel() for slot in self.slots], 1)
        for slot, part in zip(self.slots, parts, strict=True):
            stacked = part.unflatten(1, slot.shape)
            if slot.hooks and stacked.requires_grad:
                own = stacked.unbind()
                for row, hook in itertools.product(own, slot.hooks):
                    row.register_hook(hook)
                stacked = torch.stack(own)
            for module, tensor in ((slot.module, slot.tensor), *slot.shared):
                self.packed[module].stacked[tensor] = stacked
        return self.flat

    @torch.no_grad()
    def project(self) -> None:
        """After a step of the optimizer: lets methods put their parameters where they want them."""
        start = 0
        for slot in self.slots:
            stop = start + slot.shape.numel()
            inner = self.packed[slot.module].inner
            if isinstance(inner, MultiplicativeLayer) and inner.projects():
                for row in self.adapters:
                    part = row[start:stop].view(slot.shape)
                    part.copy_(inner.project(slot.tensor, part))
            start = stop

    def adapted_layers(self) -> dict[str, PackedModule]:
        """The packed modules that are adapted linear layers, by their name in the base model."""
        return {
            name: module
            for name, module in self.packed.items()
            if isinstance(module.inner, BaseTunerLayer)
            and isinstance(module.inner.get_base_layer(), nn.Linear | Conv1D)
        }

    def close(self) -> None:
        """Gives the base model back as it was."""
        self.show_inner()
        self.peft_model.unload()
        self._restore()
