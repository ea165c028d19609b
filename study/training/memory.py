"""What a pack needs on its device, counted: on real tensors, or on the meta device from shapes alone.

Every storage that an operation makes is counted until it is freed, so what is only passing counts as well.
A GPU's context, its libraries' workspaces and fragmentation are not in it: planning reserves room for those.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from peft import PeftConfig
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from study.planning.profile import Footprint, RunMapping
from study.tasks import Task
from study.training.frozen_base import evaluation_mode, train_mode
from study.training.packing import PackedModel, RunParameters, pack
from study.training.passes import forward_backward, losses_and_predictions, stack_runs

SIZES = (2, 4)
"""Packs from which the share of one run is taken; one run alone is not mapped and so another case."""


class Peak(TorchDispatchMode):
    """Counts the bytes of the storages made inside it and alive at a time.

    Attributes:
        highest: most bytes at any time.
    """

    def __init__(self) -> None:
        super().__init__()
        self.highest = 0
        self._alive = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default and args[0].is_meta:
            return 0  # models ask whether a mask masks anything: say yes, which is more expensive
        given = {id(t.untyped_storage()) for t in tree_leaves((args, kwargs)) if _has_storage(t)}
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if _has_storage(tensor):
                storage = tensor.untyped_storage()
                if id(storage) not in given and id(storage) not in self._known:
                    self._note(storage)
        return result

    def _note(self, storage: torch.UntypedStorage) -> None:
        key, size = id(storage), storage.nbytes()

        def gone(_: Any) -> None:
            del self._known[key]
            self._alive -= size

        self._known[key] = weakref.ref(storage, gone)
        self._alive += size
        self.highest = max(self.highest, self._alive)


def _has_storage(value: Any) -> bool:
    return isinstance(value, Tensor) and value.layout == torch.strided


def peak_mb(task: Task, packed: PackedModel, parameters: RunParameters) -> float:
    """Most MB (2^20 bytes) that a training step and a batch of evaluation take beside model and optimizer."""
    runs = packed.runs
    # Made on the CPU, perhaps by a cache.
    training, valid = task.batch(0, 0), next(task.batches("valid", task.rows("valid", 0)))
    train_mode(packed.base)
    with Peak() as step:
        forward_backward(task, packed, parameters, [training] * runs)
    with torch.no_grad(), evaluation_mode(packed.base), Peak() as evaluation:
        batch = stack_runs(task, [valid] * runs, packed.device)
        flat = parameters.flat
        losses_and_predictions(task, lambda function, b: packed(flat, function, b), batch, packed.device)
    return max(step.highest, evaluation.highest) / 2**20


def footprint(task: Task, model: nn.Module, config: PeftConfig, mapping: RunMapping | None) -> Footprint:
    """What a pack of any size needs, from packs of `SIZES`.

    Args:
        model: the base model, on any device, the meta device too.
        mapping: how runs train together; None if they train one by one.
    """
    models = [model, *task.models_beside(next(model.parameters()).device)]
    weights = {tensor for each in models for tensor in (*each.parameters(), *each.buffers())}
    weights_mb = sum(weight.numel() * weight.element_size() for weight in weights) / 2**20
    peaks = []
    for size in SIZES if mapping is not None else (1,):
        packed, parameters = pack(model, config, list(range(size)), mapping or RunMapping.LAYERS)
        try:
            peaks.append(peak_mb(task, packed, parameters))
        finally:
            packed.close()
    run_mb, fixed_mb = peaks[-1], 0.0
    if mapping is not None:
        run_mb = (peaks[1] - peaks[0]) / (SIZES[1] - SIZES[0])
        fixed_mb = max(0.0, peaks[0] - SIZES[0] * run_mb)
    return Footprint(packed.parameter_count, packed.num_params, weights_mb, fixed_mb, run_mb)


def estimate(task: Task, model: nn.Module, config: PeftConfig) -> Footprint:
    """The footprint from shapes alone, in the first way in which runs can be mapped.

    Args:
        model: the base model on the meta device.

    Raises:
        UsageError, ValueError, TypeError: from the method, if it does not fit the model.
    """
    for mapping in RunMapping:
        try:
            return footprint(task, model, config, mapping)
        except Exception:  # runs cannot be mapped in this way, or the method does not fit
            continue
    return footprint(task, model, config, None)
