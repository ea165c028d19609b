"""A linear layer with a weight of each run's own, computed for all runs in the way that suits its shape."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from study.methods.multiplicative import ClosedForm, InputBlocks, LowRank

SMALL = 64
"""A layer is small if d f / (d + f) is at most this, as of one that is 128 wide, or 64 by 512.

Measured for 9 to 23 runs of 64 to 256 tokens on one thread, forward and backward over the bare layer's: with
weights of the runs' own 1.6 (32 by 32), 1.4 (64 by 64), 1.5 (128 by 128), 1.5 (128 by 512); with LoRA's thin
products 3.3, 2.2, 1.7, 1.4.
"""

MOST_COLUMNS = 16
"""Of a low rank form, in a layer that is not small; with more, thin products are no longer the fastest."""


def is_small(weight: Tensor) -> bool:
    """Whether a layer with this weight, (f, d), is cheapest with a dense weight of each run's own."""
    f, d = weight.shape
    return d * f <= SMALL * (d + f)


def pays(form: ClosedForm, weight: Tensor) -> bool:
    """Whether the form is cheaper than mapping the method's forward pass over the runs."""
    return is_small(weight) or isinstance(form, InputBlocks) or form.right.shape[-1] <= MOST_COLUMNS


@dataclass(frozen=True)
class RunLinear:
    """y = m (W' x) + b of one adapted layer, for every run.

    Attributes:
        weight: W, (f, d), which the runs share.
        bias: (f,), which the runs share.
        form: W' from W, for a single layer: without the axis of layers.
        magnitudes: m, (runs, f); None for ones.
    """

    weight: Tensor
    bias: Tensor | None
    form: ClosedForm
    magnitudes: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """(runs, batch, ..., d) -> (runs, batch, ..., f)."""
        tokens = x.flatten(1, -2)  # (runs, tokens, d)
        if self.magnitudes is None:
            y = self._linear(tokens, self.bias)
        else:
            y = self._linear(tokens, None) * self.magnitudes.unsqueeze(1)
            y = y if self.bias is None else y + self.bias
        return y.unflatten(1, x.shape[1:-1])

    def own_weights(self) -> Tensor:
        """Every run's W'^T without magnitudes, (runs, d, f): a run's gradient of it is then one product."""
        if isinstance(self.form, LowRank):
            shared = self.weight.T.expand(len(self.form.right), -1, -1)
            return torch.baddbmm(shared, self.form.right, self.form.left.mT)
        blocks = self.form.blocks
        own = torch.einsum("rnij,njf->rnif", blocks, self.weight.T.unflatten(0, (blocks.shape[1], -1)))
        return own.flatten(1, 2)

    def _linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """W' x + b: (runs, tokens, d) -> (runs, tokens, f)."""
        if is_small(self.weight):
            own = self.own_weights()
            return torch.bmm(x, own) if bias is None else torch.baddbmm(bias.expand(1, 1, -1), x, own)
        if isinstance(self.form, LowRank):
            y = F.linear(x, self.weight, bias)
            return torch.baddbmm(y, torch.bmm(x, self.form.right), self.form.left.mT)
        x_blocks = x.unflatten(-1, (self.form.blocks.shape[1], -1)).transpose(1, 2)  # (runs, n, tokens, b)
        return F.linear((x_blocks @ self.form.blocks).transpose(1, 2).flatten(-2), self.weight, bias)
