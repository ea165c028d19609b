"""A linear layer with a weight of each run's own, computed for all runs in the way that suits its shape."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from study.methods.multiplicative import ClosedForm, InputBlocks, LowRank
from study.training.packing.thin_products import ThinProducts

SMALL = 64
"""A layer is small if d f / (d + f) is at most this, as of one that is 128 wide, or 64 by 512."""

MOST_ROWS = 16
"""Of a low rank form whose thin products are the fastest.

Measured for 12 and 23 runs of 80 tokens on one thread, forward and backward over the bare layer's, 64 to 64,
64 to 256 and 256 to 64 wide: with 4 rows 1.9, 1.6, 1.8; with 16 2.3, 2.0, 2.2; with dense weights
1.9, 2.1, 2.2.
"""


def is_small(weight: Tensor) -> bool:
    """Whether forming a dense weight of each run's own, (f, d), costs little beside using it."""
    f, d = weight.shape
    return d * f <= SMALL * (d + f)


def pays(form: ClosedForm, weight: Tensor) -> bool:
    """Whether the form is cheaper than mapping the method's forward pass over the runs."""
    return is_small(weight) or isinstance(form, InputBlocks) or form.right.shape[-2] <= MOST_ROWS


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
        """(runs, ..., d) -> (runs, ..., f)."""
        tokens = x.reshape(len(x), -1, x.shape[-1])
        if self.magnitudes is None:
            y = self._linear(tokens, self.bias)
        else:
            y = self._linear(tokens, None) * self.magnitudes.unsqueeze(1)
            y = y if self.bias is None else y + self.bias
        return y.view(*x.shape[:-1], -1)

    def own_weights(self) -> Tensor:
        """Every run's W'^T without magnitudes, (runs, d, f): a run's gradient of it is then one product."""
        if isinstance(self.form, LowRank):
            shared = self.weight.T.expand(len(self.form.right), -1, -1)
            return torch.baddbmm(shared, self.form.right.mT, self.form.left)
        blocks = self.form.blocks
        own = torch.einsum("rnij,njf->rnif", blocks, self.weight.T.unflatten(0, (blocks.shape[1], -1)))
        return own.flatten(1, 2)

    def _has_own_weights(self) -> bool:
        """Whether a dense weight of each run's own is cheapest: without gradients in any small layer."""
        if not is_small(self.weight):
            return False
        if not torch.is_grad_enabled():
            return True
        if isinstance(self.form, LowRank):
            return self.form.right.shape[-2] > MOST_ROWS
        return self.weight.shape[0] <= self.weight.shape[1]  # else the blocks have less to do than the layer

    def _linear(self, x: Tensor, bias: Tensor | None) -> Tensor:
        """W' x + b: (runs, tokens, d) -> (runs, tokens, f)."""
        if self._has_own_weights():
            own = self.own_weights()
            return torch.bmm(x, own) if bias is None else torch.baddbmm(bias.expand(1, 1, -1), x, own)
        if isinstance(self.form, LowRank):
            y: Tensor = ThinProducts.apply(x, self.weight, bias, self.form.left, self.form.right)
            return y
        x_blocks = x.unflatten(-1, (self.form.blocks.shape[1], -1)).transpose(1, 2)  # (runs, n, tokens, b)
        return F.linear((x_blocks @ self.form.blocks).transpose(1, 2).flatten(-2), self.weight, bias)
