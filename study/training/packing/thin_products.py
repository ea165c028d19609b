"""A frozen linear layer with products of a few rows of each run's own beside it."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


class ThinProducts(torch.autograd.Function):
    """x (W + left^T right)^T + b of every run: (runs, tokens, d) -> (runs, tokens, f).

    Weight and bias are frozen and get no gradient. PyTorch's own functions would copy the layer's output, and
    the gradient of its input, to add the products to them.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, left: Tensor, right: Tensor
    ) -> Tensor:
        """weight: (f, d); left: (runs, k, f); right: (runs, k, d)."""
        products = torch.bmm(right, x.mT)  # (runs, k, tokens)
        ctx.save_for_backward(x, weight, left, right)
        ctx.products = products
        return F.linear(x, weight, bias).baddbmm_(products.mT, left)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, left, right = ctx.saved_tensors
        # Where a second derivative may be asked for, the products are of the graph.
        products = torch.bmm(right, x.mT) if torch.is_grad_enabled() else ctx.products
        grad = grad.contiguous()
        of_products = torch.bmm(left, grad.mT)
        of_left, of_right = torch.bmm(products, grad), torch.bmm(of_products, x)
        of_x = (grad @ weight).baddbmm_(of_products.mT, right) if ctx.needs_input_grad[0] else None
        return of_x, None, None, of_left, of_right
