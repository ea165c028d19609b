"""What a method costs on a task on this machine: does it pack, and at which size is it fastest?

The answers are kept per machine, so that the same command plans the same packs a second time.
"""

from __future__ import annotations

import contextlib
import functools
import math
import re
import time
from collections.abc import Iterator, Sequence

import torch
from peft import PeftConfig
from torch import Tensor, nn

from study.errors import UsageError, first_line
from study.methods.full import FullLayer
from study.planning.costs import sizes_that_fit
from study.planning.packs import pack_sizes
from study.planning.profile import Profile, RunMapping
from study.tasks import Task
from study.training.frozen_base import train_mode
from study.training.hyperparameters import Hyperparameters
from study.training.memory import footprint
from study.training.packing import PackedModel, RunParameters, pack
from study.training.passes import forward_backward, training_batches
from study.training.sharpness import check_differentiable_twice
from study.training.train import Training

WARM_STEPS, TIMED_STEPS = 1, 3
GOOD_ENOUGH = 1.05
"""The smallest pack whose cost is within this factor of the best is taken: it spreads better."""


def is_out_of_memory(error: BaseException) -> bool:
    """On the device or in main memory; torch's CPU allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


def why_unpackable(
    task: Task, model: nn.Module, config: PeftConfig, mapping: RunMapping = RunMapping.LAYERS
) -> str:
    """Empty if two runs trained together get the gradients they get alone; else the reason.

    In training mode, each on its own batch and with its own draws. The runs are moved off their (often zero)
    initialisation first.
    """
    seeds = [0, 1]
    batches = training_batches(task, seeds, step=0)
    try:
        packed, initial = pack(model, config, seeds, mapping)
        with contextlib.closing(packed):
            train_mode(model)
            parameters = _moved(initial)
            together = forward_backward(task, packed, parameters, batches)[1]
        for run, seed in enumerate(seeds):
            packed, _ = pack(model, config, [seed])
            with contextlib.closing(packed):
                train_mode(model)
                alone = forward_backward(task, packed, parameters.of_run(run), [batches[run]])[1][0]
            error = (alone - together[run]).norm() / alone.norm()
            if not error < (1e-3 if task.settings.precision == "float32" else 5e-2):
                return f"gradients trained together differ from those alone by {error:.1g}"
    except Exception as error:
        return f"{type(error).__name__}: {first_line(error)}"
    return ""


def _moved(parameters: RunParameters) -> RunParameters:
    """Other parameters, off these by a little noise."""
    generator = torch.Generator().manual_seed(0)

    noise = torch.randn(parameters.flat.shape, generator=generator).to(parameters.flat.device)
    return RunParameters.of(parameters.flat + 0.02 * noise, parameters.adapters[0].numel())


def find_mapping(task: Task, model: nn.Module, config: PeftConfig) -> tuple[RunMapping | None, str]:
    """The first way in which runs can train together, or None and the reason why there is none."""
    reasons = []
    for mapping in RunMapping:
        if mapping is RunMapping.MODEL and task.settings.gradient_checkpointing:
            # It computes again in backward, where no map is.
            reasons.append("the whole model cannot be mapped with task.gradient_checkpointing")
        elif not (reason := why_unpackable(task, model, config, mapping)):
            return mapping, ""
        else:
            reasons.append(reason)
    last = f"; and {reasons[-1]}" if task.settings.gradient_checkpointing else ""
    return None, reasons[0] + last


@contextlib.contextmanager
def _refuse_idle_layers(packed: PackedModel) -> Iterator[None]:
    """Sees which adapted layers a forward calls: one whose weight the model reads itself does nothing.

    Of a layer that stands in every block, one is enough: a mixture of experts calls few at a time. Who reads
    the weight of a finetuned layer reads the trained one.

    Raises:
        UsageError: naming a layer that no block calls.
    """
    owners = {n: owner for n, owner in packed.owners.items() if not isinstance(owner, FullLayer)}
    kinds = {name: re.sub(r"\.\d+(?=\.)", ".N", name) for name in owners}
    called: set[str] = set()

    def note(name: str, *_: object) -> None:
        called.add(kinds[name])

    with contextlib.ExitStack() as hooks:
        for name, owner in owners.items():
            hooks.enter_context(owner.register_forward_pre_hook(functools.partial(note, name)))
        yield
    if idle := [name for name, kind in kinds.items() if kind not in called]:
        raise UsageError(
            f"task.target_modules: the model never calls {idle[0]}, it reads the weight itself, so that an "
            "adapter there would do nothing; leave that layer out"
        )


def _activation_mb(task: Task, packed: PackedModel, parameters: RunParameters) -> float:
    """Size of the tensors that autograd keeps from forward to backward, the model's left out."""
    of_model = {parameter.untyped_storage().data_ptr() for parameter in packed.base.parameters()}
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.layout != torch.strided:
            return tensor  # sparse: has no storage to look at
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in of_model:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        forward_backward(task, packed, parameters, [task.batch(0, 0)] * packed.runs)
    return sum(storages.values()) / 2**20


def profile(
    task: Task,
    model: nn.Module,
    config: PeftConfig,
    runs: int,
    pack_size: int | None,
    memory_gb: float | None = None,
) -> Profile:
    """Measures one method on one task.

    Args:
        runs: how many there are to train; no larger pack is tried.
        pack_size: the size that was asked for, or None to find the best.
        memory_gb: what a device has; packs that would need more are not tried.

    Raises:
        UsageError, ValueError, TypeError: from the method, if it does not fit the model.
        UsageError: if the pack size that was asked for, or one run, does not fit in the memory.
    """
    alone = Training(task, model, config, [Hyperparameters(1e-3, 0, task.settings)])
    start = time.perf_counter()
    alone.measure()
    measure_seconds = time.perf_counter() - start
    with _refuse_idle_layers(alone.packed):
        activation_mb = _activation_mb(task, alone.packed, alone.parameters)
    if task.settings.sharpness:
        check_differentiable_twice(task, alone.packed, alone.parameters)
    alone.close()
    mapping, reason = find_mapping(task, model, config) if pack_size != 1 and runs > 1 else (None, "")
    needs = footprint(task, model, config, mapping)
    sizes = [1] if mapping is None else [min(pack_size, runs)] if pack_size else pack_sizes(runs)
    sizes = sizes_that_fit(sizes, needs, memory_gb)
    seconds = _time_steps(task, model, config, sizes, mapping or RunMapping.LAYERS)
    best = min(seconds.values())
    return Profile(
        unpackable=reason,
        mapping=mapping or RunMapping.LAYERS,
        pack_size=min(size for size, cost in seconds.items() if cost <= GOOD_ENOUGH * best),
        step_seconds=seconds,
        measure_seconds=measure_seconds,
        activation_mb=activation_mb,
        footprint=needs,
    )


def _time_steps(
    task: Task, model: nn.Module, config: PeftConfig, sizes: Sequence[int], mapping: RunMapping
) -> dict[int, float]:
    """Seconds per run and training step by pack size: alone, and from the largest down to the best.

    Most methods gain up to the largest pack or to one close to it, so that few sizes are timed.
    """
    smallest, *larger = sizes
    seconds = {smallest: _step_seconds(task, model, config, smallest, mapping)}
    best = math.inf  # of packs
    for size in reversed(larger):
        try:
            seconds[size] = _step_seconds(task, model, config, size, mapping)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            continue  # smaller packs fit
        if seconds[size] > GOOD_ENOUGH * best:
            break
        best = min(best, seconds[size])
    return seconds


def _step_seconds(task: Task, model: nn.Module, config: PeftConfig, size: int, mapping: RunMapping) -> float:
    """Seconds per run of the fastest of a few steps, the least disturbed."""
    runs = [Hyperparameters(1e-3, run // 9, task.settings) for run in range(size)]
    times: list[float] = []
    with contextlib.closing(Training(task, model, config, runs, mapping)) as training:
        for _ in range(WARM_STEPS + TIMED_STEPS):
            start = time.perf_counter()
            training.train_step()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            times.append(time.perf_counter() - start)
    return min(times[WARM_STEPS:]) / size
