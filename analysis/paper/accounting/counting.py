"""The work and the memory of one training step, counted without doing it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode, flop_registry


def _added_product(into: torch.Size, a: torch.Size, b: torch.Size, **_: Any) -> int:
    """FLOPs of c + a b, of the shapes of c, a and b, with or without an axis of batches."""
    return 2 * a.numel() * b[-1]


IN_PLACE = {torch.ops.aten.addmm_: _added_product, torch.ops.aten.baddbmm_: _added_product}
"""Matrix products that torch's counter passes over, and what counts them."""


class Elementwise(TorchDispatchMode):
    """Counts the work of all operators that are no matrix product, one operation per element.

    A reduction counts the elements it reads, any other operator (pointwise, softmax, normalisation, copy,
    concatenation, look-up) those it writes. Views and allocations count nothing.
    """

    FREE = {
        torch.ops.aten._unsafe_view,
        torch.ops.aten.empty_like,
        torch.ops.aten.new_empty,
        torch.ops.aten.new_empty_strided,
    }

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        packet = func.overloadpacket
        read = [t.numel() for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        is_product = packet in flop_registry or packet in IN_PLACE
        if read and not func.is_view and not is_product and packet not in self.FREE:
            written = [t.numel() for t in tree_leaves(out) if isinstance(t, Tensor)]
            self.elements += max(read if torch.Tag.reduction in func.tags else written, default=0)
        return out


def count_step(model: nn.Module, tokens: int) -> np.ndarray:
    """One training step of one sample: matrix-product FLOPs, elementwise operations, saved bytes.

    Saved bytes: float32 storages that autograd holds at the end of the forward, where they peak, each
    counted once and the model's parameters left out.
    """
    inputs = torch.zeros(1, tokens, dtype=torch.long, device="meta")
    # A mask that is ready: making one reads values, which meta tensors have not.
    mask = torch.zeros(1, 1, tokens, tokens, device="meta")
    parameters = {p.untyped_storage()._cdata for p in model.parameters()}
    saved: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in parameters:
            saved[storage._cdata] = storage.nbytes()
        return tensor

    counter, elementwise = FlopCounterMode(display=False, custom_mapping=IN_PLACE), Elementwise()
    with elementwise, counter:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = model(input_ids=inputs, attention_mask=mask, use_cache=False).logits.sum()
        loss.backward()
    return np.array([counter.get_total_flops(), elementwise.elements, sum(saved.values())], dtype=np.int64)
