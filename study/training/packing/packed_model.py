"""The runs of one method over one model, as a function of their parameters.

The runs' parameters are rows of one matrix, `flat`: (runs, num_params). The runs lead the batch, (runs *
batch, ...), and are mapped with `torch.func.vmap` and `functional_call`, whatever the method, in one of
three ways (`RunMapping`):

- layers: the base model runs as it is; every module that owns trained tensors is replaced, for the time
  of the call, by a `PackedModule`, which takes the batch apart and maps the module over the runs. The
  fastest way. A linear layer whose method has a closed form is not mapped but computed for all runs at once
  (`ClosedForms`).
- loops: the same, but such a module computes one run after the other. For methods that vmap cannot map:
  those with an `autograd.Function` of the old kind, or that decide by a number that they draw.
- model: the whole model's forward is mapped. For models that feed an adapted layer something without a batch
  axis, as DeBERTa its shared relative positions. Fails where a per-run padding mask meets SDPA. Layers with a
  closed form step out of the mapping (`MappedLayer`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import torch
from peft import PeftConfig, PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.conv import _ConvNd
from transformers.pytorch_utils import Conv1D

from study.methods.full import FullLayer
from study.methods.multiplicative import MultiplicativeLayer
from study.planning.profile import RunMapping
from study.training.packing.adapted_layer import AdaptedLayer
from study.training.packing.closed_forms import ClosedForms
from study.training.packing.functional import ModuleFunction, Tensors, map_over_runs
from study.training.packing.injection import Injection
from study.training.packing.mapped_layer import MappedLayer
from study.training.packing.packed_module import PackedModule, Seated
from study.training.packing.parameters import RunParameters
from study.training.packing.run_linear import RunLinear
from study.training.packing.slots import Slot, find_owners, find_slots, is_slow_mapped, tensors_of
from study.training.randomness import RunStreams, active_streams

Forward = Callable[[nn.Module, dict[str, Tensor]], Tensor]
"""What a task makes of a model and a batch: one row per example."""


class PackedModel:
    """`packed(flat, function, batch)`: many runs that differ in their parameters alone, over one model.

    Made by `pack`. Until `close` the base model is `peft_model`'s, adapted as the first run's seed draws it.

    Attributes:
        base: the model that the runs share.
        runs: how many.
        slots: where each trained tensor lives in a row of `flat`; those of heads come last.
        owners: the modules that are mapped over the runs, by their names in the base model.
        mapping: how the runs are mapped.
        streams: their random numbers.
        buffers: those of the base model, as they were before it was adapted.
    """

    def __init__(
        self,
        injection: Injection,
        peft_model: PeftModel,
        slots: Sequence[Slot],
        constants: dict[str, Tensors],
        seeds: Sequence[int],
        mapping: RunMapping,
    ) -> None:
        self.base, self.peft_model = injection.base, peft_model
        self.slots, self.runs = slots, len(seeds)
        self.mapping = RunMapping.LAYERS if self.runs == 1 else mapping
        self.device = next(self.base.parameters()).device
        self.streams = RunStreams(seeds, self.device)
        self.buffers = injection.buffers
        self._injection, self._constants = injection, constants
        self.owners = find_owners(self.base)
        kind = MappedLayer if self.mapping is RunMapping.MODEL else PackedModule
        self._packed_modules = {
            name: kind(owner, self.runs, self.mapping is RunMapping.LOOPS or is_slow_mapped(owner))
            for name, owner in self.owners.items()
        }
        self._closed_forms = ClosedForms(self.owners, self._shapes())
        parents = [name.rpartition(".") for name in self.owners]
        self._seats = [(self.base.get_submodule(parent), child) for parent, _, child in parents]

    def __call__(self, flat: Tensor, function: Forward, batch: dict[str, Tensor]) -> Tensor:
        """`function(model, batch)` of every run: (runs * batch, ...) -> (runs * batch, ...).

        Args:
            flat: the runs' parameters, (runs, num_params); gradients pass through it.
        """
        tensors = self.tensors(flat)
        if self.mapping is not RunMapping.MODEL:
            linears = self._linears(tensors)
            modules = [
                module.with_tensors(tensors[name], linears.get(name))
                for name, module in self._packed_modules.items()
            ]
            with Seated(self._seats, modules):
                return function(self.base, batch)
        return self._map_model(tensors, function, batch)

    def _map_model(self, tensors: dict[str, Tensors], function: Forward, batch: dict[str, Tensor]) -> Tensor:
        linears = self._linears(tensors)
        layers = [self._packed_modules[name].with_tensors(tensors[name], linears[name]) for name in linears]
        seat_of = dict(zip(self.owners, self._seats, strict=True))
        stacked = {
            f"module.{module}.{name}": value
            for module, of_module in tensors.items()
            for name, value in of_module.items()
            if module not in linears
        }
        model_function = ModuleFunction(self.base, function)
        by_run = {name: value.unflatten(0, (self.runs, -1)) for name, value in batch.items()}

        def one(lane: Tensor, of_the_run: Tensors, batch_of_run: dict[str, Tensor]) -> Tensor:
            for layer in layers:
                assert isinstance(layer, MappedLayer)
                layer.lane = lane
            return functional_call(model_function, of_the_run, (batch_of_run,), tie_weights=False)

        lanes = torch.arange(self.runs, device=self.device)
        others = [owner for name, owner in self.owners.items() if name not in linears]
        with Seated([seat_of[name] for name in linears], layers), adapted_layers_noted(others):
            return map_over_runs(one, lanes, stacked, by_run).flatten(0, 1)

    def tensors(self, flat: Tensor) -> dict[str, Tensors]:
        """What differs between the runs, (runs, ...), by module and name: what they train, and what their
        seeds draw without training it."""
        tensors = tensors_of(flat, self.slots)
        for module, constants in self._constants.items():
            tensors[module] |= constants
        return tensors

    def _shapes(self) -> dict[str, dict[str, torch.Size]]:
        """Of what differs between the runs, without the axis of runs, by module and name."""
        shapes: dict[str, dict[str, torch.Size]] = {name: {} for name in self.owners}
        for slot in self.slots:
            for module, tensor in slot.everywhere:
                shapes[module][tensor] = slot.shape
        for module, constants in self._constants.items():
            shapes[module] |= {name: value.shape[1:] for name, value in constants.items()}
        return shapes

    def _linears(self, tensors: dict[str, Tensors]) -> dict[str, RunLinear]:
        """The adapted layers in closed form. None in bfloat16: a run's own weight would lose its digits."""
        kind = self.device.type
        autocast = kind != "meta" and torch.is_autocast_enabled(kind)  # the meta device knows none
        if self.mapping is RunMapping.LOOPS or autocast:
            return {}
        return self._closed_forms.of(tensors)

    def state_dict(self, flat: Tensor, run: int) -> Tensors:
        """`peft_model.state_dict()` with the tensors of one run, also where modules share them."""
        of_the_run: dict[int, Tensor] = {}
        for module, tensors in self.tensors(flat).items():
            owner = self.owners[module]
            replaced = dict([*owner.named_parameters(), *owner.named_buffers()])
            of_the_run |= {id(replaced[name]): value[run] for name, value in tensors.items()}
        return {
            name: of_the_run[id(value)].to(value.dtype).clone() if id(value) in of_the_run else value
            for name, value in self.peft_model.state_dict(keep_vars=True).items()
        }

    @property
    def num_params(self) -> int:
        """Numbers that one run trains and stores, heads included."""
        return sum(slot.size for slot in self.slots)

    @property
    def parameter_count(self) -> int:
        """Trained numbers of one run as the paper counts them: degrees of freedom, heads included."""
        layers = [owner for owner in self.owners.values() if isinstance(owner, MultiplicativeLayer)]
        free_share = layers[0].free_share if layers else 1.0
        all_free = sum(slot.size for slot in self.slots if slot.head or slot.magnitude)
        return int((self.num_params - all_free) * free_share) + all_free

    @torch.no_grad()
    def project(self, parameters: RunParameters) -> None:
        """After a step of the optimizer: puts parameters, in place, where the method wants them."""
        start = 0
        for slot in self.slots:
            stop = start + slot.size
            owner = self.owners[slot.module]
            if isinstance(owner, MultiplicativeLayer) and owner.projects() and not slot.magnitude:
                for vector in parameters.adapters:
                    part = vector[start:stop].view(slot.shape)
                    part.copy_(owner.project(slot.tensor, part))
            start = stop

    def adapted_layers(self) -> dict[str, AdaptedLayer]:
        """The adapted linear layers, and convolutions that are finetuned, by their name in the base model."""
        changed, formed = self._injection.changed(), self._closed_forms.layers()
        layers = {}
        for name, owner in self.owners.items():
            base_layer = owner.get_base_layer() if isinstance(owner, BaseTunerLayer) else None
            if isinstance(base_layer, nn.Linear | Conv1D) or (
                isinstance(owner, FullLayer) and isinstance(base_layer, _ConvNd)
            ):
                weights = base_layer.named_parameters()
                untouched = {tensor: changed[id(w)] for tensor, w in weights if id(w) in changed}
                loop = self.mapping is RunMapping.LOOPS
                layers[name] = AdaptedLayer(owner, untouched, loop, formed.get(name))
        return layers

    def close(self) -> None:
        """Gives the base model back as it was."""
        self._injection.take_out(self.peft_model)


def pack(
    base: nn.Module, config: PeftConfig, seeds: Sequence[int], mapping: RunMapping = RunMapping.LAYERS
) -> tuple[PackedModel, RunParameters]:
    """Runs of one method that differ in seed (and in what their optimizer does), over one model.

    Args:
        base: is adapted in place, until the packed model is closed.
        mapping: how the runs are mapped over the model; one run alone is not.

    Returns:
        The packed model, and the runs' parameters as their seeds draw them.

    Raises:
        UsageError, ValueError, TypeError: from the method, if it does not fit the model.
    """
    injection = Injection(base, config)
    state_of = {seed: injection.initial_state(seed) for seed in dict.fromkeys(seeds)}
    peft_model = injection.put_in(seeds[0])
    injection.keep_only_changed()
    owners = find_owners(base)
    slots = find_slots(peft_model, owners)
    states = [state_of[seed] for seed in seeds]
    flat = torch.stack(
        [torch.cat([state[slot.full_name].float().flatten() for slot in slots]) for state in states]
    )
    parameters = RunParameters.of(flat, sum(slot.size for slot in slots if not slot.head))
    constants = _constants(states, slots, owners)
    return PackedModel(injection, peft_model, slots, constants, seeds, mapping), parameters


@contextlib.contextmanager
def adapted_layers_noted(owners: Sequence[nn.Module]) -> Iterator[None]:
    """Inside, the adapted layers that a mapped model calls say so to the runs' streams."""
    streams = active_streams()
    if streams is None:
        yield
        return
    with contextlib.ExitStack() as hooks:
        for owner in owners:
            hooks.enter_context(_noted(owner, streams))
        yield


@contextlib.contextmanager
def _noted(owner: nn.Module, streams: RunStreams) -> Iterator[None]:
    inside: list[contextlib.AbstractContextManager[None]] = []

    def enter(*_: object) -> None:
        inside.append(streams.adapted_layer())
        inside[-1].__enter__()

    def leave(*_: object) -> None:
        inside.pop().__exit__(None, None, None)

    with owner.register_forward_pre_hook(enter), owner.register_forward_hook(leave):
        yield


def _constants(
    states: Sequence[Tensors], slots: Sequence[Slot], owners: dict[str, nn.Module]
) -> dict[str, Tensors]:
    """Tensors that a method draws anew for each seed without training them, (runs, ...), by module."""
    trained = {f"{module}.{tensor}" for slot in slots for module, tensor in slot.everywhere}
    constants: dict[str, Tensors] = {}
    for full_name in states[0].keys() - trained:
        values = [state[full_name] for state in states]
        if any(not torch.equal(values[0], value) for value in values[1:]):
            module = max((name for name in owners if full_name.startswith(f"{name}.")), key=len)
            tensor = full_name.removeprefix(f"{module}.")
            constants.setdefault(module, {})[tensor] = torch.stack(values)
    return constants
