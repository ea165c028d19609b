"""What a pack needs on its device, counted: on real tensors, or on the meta device from shapes alone.

Every storage that an operation makes is counted until it is freed, so what is only passing counts as well.
A GPU's context, its libraries' workspaces and fragmentation are not in it: `study.planning.runs.RESERVED_MB`.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from peft import PeftConfig
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from study.tasks import Task
from study.training.packing import Pack
from study.training.passes import autocast, backward, fold

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
            return 0  # models ask whether a mask masks anything: say that it does, the dearer answer
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


def peak_mb(task: Task, model: nn.Module, config: PeftConfig, runs: int, whole: bool) -> float:
    """Most MB (2^20 bytes) that a training step and a batch of evaluation take beside model and optimizer."""
    pack = Pack(model, config, list(range(runs)), whole)
    was_training = model.training
    try:
        with Peak() as step:
            model.train()
            backward(task, pack, [task.batch(0, 0)] * runs)
        with torch.no_grad(), Peak() as evaluation:
            model.eval()
            pack.bind()
            batch = fold(task, [next(task.batches("valid"))] * runs, pack.device)
            with autocast(task.settings, pack.device):
                outputs = pack.forward(task.forward, batch)
            task.losses(outputs, batch)
            task.predictions(outputs, batch)
    finally:
        model.train(was_training)
        pack.close()
    return max(step.highest, evaluation.highest) / 2**20


def footprint(task: Task, model: nn.Module, config: PeftConfig, whole: bool | None) -> dict[str, float]:
    """What `study.planning.runs.pack_mb` makes the memory of a pack of any size of.

    Args:
        model: the base model, on any device, the meta device too.
        whole: how runs are mapped; None if they train one by one.

    Returns:
        weights_mb: the base model's; fixed_mb, run_mb: of a step, whatever the pack and per run.
    """
    weights = sum(t.numel() * t.element_size() for t in {*model.parameters(), *model.buffers()}) / 2**20
    if whole is None:
        return {"weights_mb": weights, "fixed_mb": 0.0, "run_mb": peak_mb(task, model, config, 1, False)}
    few, more = (peak_mb(task, model, config, size, whole) for size in SIZES)
    run = (more - few) / (SIZES[1] - SIZES[0])
    return {"weights_mb": weights, "fixed_mb": max(0.0, few - SIZES[0] * run), "run_mb": run}


def estimate(task: Task, model: nn.Module, config: PeftConfig) -> dict[str, float]:
    """The memory's part of a `study.training.probe.Profile`, with the trained numbers, from shapes alone.

    Args:
        model: the base model on the meta device.

    Raises:
        UsageError, ValueError, TypeError: from the method, if it does not fit the model.
    """
    pack = Pack(model, config, [0])
    numbers = sum(rows[0].numel() for rows in (pack.adapters, pack.heads) if rows)
    counts = {"parameters": pack.parameters, "numbers": numbers}
    pack.close()
    for whole in (False, True, None):
        try:
            return footprint(task, model, config, whole) | counts
        except Exception:  # runs cannot be mapped in this way
            if whole is None:
                raise
    raise AssertionError
