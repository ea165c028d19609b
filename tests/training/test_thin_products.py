"""A frozen layer with thin products beside it, against dense weights of each run's own in float64."""

from __future__ import annotations

import torch
from torch import Tensor

from study.training.packing.thin_products import ThinProducts


def normal(*shape: int, trained: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(*shape, generator=generator, dtype=torch.float64, requires_grad=trained)


def test_it_is_a_dense_weight_per_run_and_its_gradients_are_right() -> None:
    runs, tokens, d, f, k = 3, 4, 5, 6, 2
    x, left, right = normal(runs, tokens, d), normal(runs, k, f), normal(runs, k, d)
    weight, bias = normal(f, d, trained=False), normal(f, trained=False)
    for of_layer in (bias, None):
        y = ThinProducts.apply(x, weight, of_layer, left, right)
        dense = torch.einsum("rtd,rfd->rtf", x, weight + left.mT @ right)
        torch.testing.assert_close(y, dense if of_layer is None else dense + of_layer)

    def function(x: Tensor, left: Tensor, right: Tensor) -> Tensor:
        return ThinProducts.apply(x, weight, bias, left, right)

    assert torch.autograd.gradcheck(function, (x, left, right))
    assert torch.autograd.gradgradcheck(function, (x, left, right))


def test_an_input_without_a_gradient_gets_none() -> None:
    x, weight = normal(2, 3, 4, trained=False), normal(5, 4, trained=False)
    left, right = normal(2, 1, 5), normal(2, 1, 4)
    y = ThinProducts.apply(x, weight, None, left, right)
    expected = torch.autograd.grad((x @ (weight + left.mT @ right).mT).square().sum(), (left, right))
    for got, wanted in zip(torch.autograd.grad(y.square().sum(), (left, right)), expected, strict=True):
        torch.testing.assert_close(got, wanted)
