"""What a method costs on a task on this machine: does it pack, and at which size is it fastest?

The answers are kept per machine, so that the same command plans the same packs a second time.
"""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftConfig
from torch import Tensor, nn

from study.errors import first_line
from study.planning.costs import sizes_that_fit
from study.planning.profile import Footprint
from study.tasks import Task
from study.training.memory import footprint
from study.training.packing import Pack
from study.training.passes import backward
from study.training.train import Hyperparameters, Training

WARM_STEPS, TIMED_STEPS = 2, 6
GIVE_UP = 1.25
"""Larger packs are not tried once one costs this many times the best per run."""
GOOD_ENOUGH = 1.05
"""The smallest pack whose cost is within this factor of the best is taken: it spreads better."""


def is_out_of_memory(error: BaseException) -> bool:
    """On the device or in main memory; torch's CPU allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or (
        isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    )


@dataclass
class Profile:
    """Answers for one method, with its options, on one task.

    Attributes:
        unpackable: why runs cannot train together, empty if they can.
        whole: how they are mapped, see `study.training.packing`.
        pack_size: runs to train together.
        step_seconds: seconds per run and training step, by pack size (as text, for JSON).
        measure_seconds: seconds per run and evaluation, of a run alone.
        parameters: trained numbers of one run.
        numbers: what one run's adapter (and head) stores.
        saved_mb: what a step of one run holds in memory for its backward pass, in MB (2^20 bytes).
        weights_mb, fixed_mb, run_mb: what a pack needs on its device, see `study.training.memory`.
    """

    unpackable: str
    whole: bool
    pack_size: int
    step_seconds: dict[str, float]
    measure_seconds: float
    parameters: int
    numbers: int
    saved_mb: float
    weights_mb: float
    fixed_mb: float
    run_mb: float

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def pack_sizes(runs: int) -> list[int]:
    """Sizes worth trying: those that cut `runs` into equal packs, about 1.6 times apart."""
    sizes = [1]
    for packs in range(runs, 0, -1):
        size = -(-runs // packs)
        if size >= 1.6 * sizes[-1] or packs == 1:
            sizes.append(size)
    return sorted(set(sizes))


def _gradients(task: Task, pack: Pack, rows: list[Tensor]) -> Tensor:
    """Gradients, (runs, numbers), of one training batch at the parameters `rows`."""
    for row, value in zip([*pack.adapters, *pack.heads], rows, strict=True):
        row.data = value
    return backward(task, pack, [task.batch(0, 0)] * pack.runs)[1]


def why_unpackable(task: Task, model: nn.Module, config: PeftConfig, whole: bool = False) -> str:
    """Empty if two runs trained together get the gradients they get alone; else the reason.

    The runs have different seeds and are moved off their (often zero) initialisation first.

    Args:
        whole: how the runs are mapped, see `study.training.packing`.
    """
    seeds = [0, 1]
    was_training = model.training
    model.eval()  # dropout would make any two passes differ
    try:
        pack = Pack(model, config, seeds, whole)
        try:
            generator = torch.Generator().manual_seed(0)
            rows = [
                row.detach() + 0.02 * torch.randn(row.shape, generator=generator).to(row.device)
                for row in (*pack.adapters, *pack.heads)
            ]
            together = _gradients(task, pack, rows)
        finally:
            pack.close()
        for run, seed in enumerate(seeds):
            pack = Pack(model, config, [seed])
            try:
                alone = _gradients(task, pack, rows[run :: len(seeds)])[0]
            finally:
                pack.close()
            error = (alone - together[run]).norm() / alone.norm()
            if not error < (1e-3 if task.settings.precision == "float32" else 5e-2):
                return f"gradients trained together differ from those alone by {error:.1g}"
    except Exception as error:
        return f"{type(error).__name__}: {first_line(error)}"
    finally:
        model.train(was_training)
    return ""


def mapping(task: Task, model: nn.Module, config: PeftConfig) -> tuple[bool | None, str]:
    """How runs can train together: whole or not (see `packing`), or None and the reason why not."""
    by_layers = why_unpackable(task, model, config)
    if not by_layers:
        return False, ""
    if task.settings.gradient_checkpointing:  # which computes again in backward, where no map is
        return None, f"{by_layers}; and the whole model cannot be mapped with task.gradient_checkpointing"
    return (None, by_layers) if why_unpackable(task, model, config, whole=True) else (True, "")


def _saved_mb(task: Task, pack: Pack) -> float:
    """Size of the tensors that autograd keeps from forward to backward, the model's own left out."""
    own = {parameter.untyped_storage().data_ptr() for parameter in pack.base.parameters()}
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        if tensor.layout != torch.strided:
            return tensor  # sparse: has no storage to look at
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        backward(task, pack, [task.batch(0, 0)] * pack.runs)
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
    alone = Training(task, model, config, [Hyperparameters(lr=1e-3, seed=0)])
    parameters = alone.pack.parameters
    start = time.perf_counter()
    alone.measure()
    measure_seconds = time.perf_counter() - start
    numbers = sum(rows[0].numel() for rows in (alone.pack.adapters, alone.pack.heads) if rows)
    saved_mb = _saved_mb(task, alone.pack)
    alone.close()
    whole, reason = mapping(task, model, config) if pack_size != 1 and runs > 1 else (None, "")
    needs = footprint(task, model, config, whole)
    sizes = [1] if whole is None else [min(pack_size, runs)] if pack_size else pack_sizes(runs)
    sizes = sizes_that_fit(sizes, Footprint(parameters, numbers, **needs), memory_gb)
    seconds: dict[int, float] = {}
    for size in sizes:
        hyperparameters = [Hyperparameters(lr=1e-3, seed=run // 9) for run in range(size)]
        training = Training(task, model, config, hyperparameters, bool(whole))
        times: list[float] = []
        try:
            for _ in range(WARM_STEPS + TIMED_STEPS):
                start = time.perf_counter()
                training.train_step()
                if torch.cuda.is_available():
                    torch.cuda.synchronize()
                times.append(time.perf_counter() - start)
        except Exception as error:
            if not (seconds and is_out_of_memory(error)):
                raise
            break  # smaller packs fit
        finally:
            training.close()
        seconds[size] = min(times[WARM_STEPS:]) / size  # the least disturbed
        if seconds[size] > GIVE_UP * min(seconds.values()):
            break
    best = min(seconds.values())
    chosen = min(size for size, cost in seconds.items() if cost <= GOOD_ENOUGH * best)
    return Profile(
        unpackable=reason,
        whole=bool(whole),
        pack_size=chosen,
        step_seconds={str(size): cost for size, cost in seconds.items()},
        measure_seconds=measure_seconds,
        parameters=parameters,
        numbers=numbers,
        saved_mb=saved_mb,
        **needs,
    )
