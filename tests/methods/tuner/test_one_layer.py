"""A layer outside packs: the backward pass of its own against dense matrices, and what it keeps for it."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from peft import get_peft_model
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from study import methods
from study.methods.ether import EtherLayer
from study.methods.multiplicative import Parameters, block_product
from study.methods.tuner.projections import projected_linear

DOUBLE = torch.float64
WIDTH, TOKENS = 768, 512
LAYERS: list[tuple[str, dict[str, Any]]] = [
    *(("ether", {"blocks": n}) for n in (1, 4, 32)),
    *(("ether_plus", {"blocks": n}) for n in (1, 4, 32)),
    ("ether_plus", {"blocks": 4, "sides": 1}),
    ("oft", {"blocks": 24}),
    ("naive", {"blocks": 24}),
]


def normal(*shape: int, trained: bool = True) -> Tensor:
    generator = torch.Generator().manual_seed(math.prod(shape))
    return torch.randn(*shape, generator=generator, dtype=DOUBLE).requires_grad_(trained)


def dense(normals: Tensor, coefficients: tuple[float, ...]) -> Tensor:
    """(t, n, b) -> (n b, n b), from the definition."""
    blocks = []
    for block in range(normals.shape[1]):
        matrix = torch.eye(normals.shape[2], dtype=DOUBLE)
        for c, u in zip(coefficients, normals[:, block], strict=True):
            matrix = matrix + c * torch.outer(u, u) / u.dot(u)
        blocks.append(matrix)
    return torch.block_diag(*blocks)


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("blocks", [1, 2, 3, 6])
@pytest.mark.parametrize("coefficients", [(-2.0,), (-1.0, 1.0)])
def test_a_projected_linear_is_its_dense_matrices(
    coefficients: tuple[float, ...], blocks: int, two_sided: bool
) -> None:
    x, weight, bias = normal(2, 3, 12), normal(18, 12, trained=False), normal(18, trained=False)
    inner, outer = normal(len(coefficients), blocks, 12 // blocks), None
    expected = x @ dense(inner, coefficients) @ weight.T
    if two_sided:
        outer = normal(len(coefficients), blocks, 18 // blocks)
        expected = expected @ dense(outer, coefficients)
    got = projected_linear(x, weight, bias, coefficients, inner, outer)
    torch.testing.assert_close(got, expected + bias)
    trained = [x, inner, *([] if outer is None else [outer])]
    slopes = [torch.autograd.grad((y**3).sum(), trained) for y in (got, expected + bias)]
    torch.testing.assert_close(*slopes)


@pytest.mark.parametrize("blocks", [1, 2])
def test_first_and_second_derivatives_are_those_of_finite_differences(blocks: int) -> None:
    weight, bias = normal(6, 4, trained=False), normal(6, trained=False)

    def reflected(x: Tensor, inner: Tensor, outer: Tensor) -> Tensor:
        return projected_linear(x, weight, bias, (-1.0, 1.0), inner, outer)

    inputs = normal(3, 4), normal(2, blocks, 4 // blocks), normal(2, blocks, 6 // blocks)
    assert torch.autograd.gradcheck(reflected, inputs)
    assert torch.autograd.gradgradcheck(reflected, inputs)
    assert torch.autograd.gradcheck(block_product, (normal(3, 4), normal(blocks, 4 // blocks, 4 // blocks)))
    assert torch.autograd.gradgradcheck(block_product, (normal(3, 4), normal(2, 2, 2)))


@pytest.mark.parametrize("two_sided", [False, True])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("shared", ["", "x", "inner"])
def test_mapped_over_runs_it_is_every_run_alone(shared: str, blocks: int, two_sided: bool) -> None:
    weight, bias = normal(6, 4, trained=False), normal(6, trained=False)
    inputs = {
        "x": normal(5, 3, 4),
        "inner": normal(5, 2, blocks, 4 // blocks),
        "outer": normal(5, 2, blocks, 6 // blocks),
        "matrices": normal(5, 2, 2, 2),
    }

    def layer(x: Tensor, inner: Tensor, outer: Tensor, matrices: Tensor) -> Tensor:
        x = block_product(x, matrices)
        return projected_linear(x, weight, bias, (-1.0, 1.0), inner, outer if two_sided else None)

    def of_run(run: int) -> Tensor:
        return layer(*(value[0] if name == shared else value[run] for name, value in inputs.items()))

    in_dims = tuple(None if name == shared else 0 for name in inputs)
    given = [value[0] if name == shared else value for name, value in inputs.items()]
    together, each = torch.vmap(layer, in_dims)(*given), torch.stack([of_run(run) for run in range(5)])
    torch.testing.assert_close(together, each)
    trained = [value for name, value in inputs.items() if two_sided or name != "outer"]
    slopes = [torch.autograd.grad((y**3).sum(), trained) for y in (together, each)]
    torch.testing.assert_close(*slopes)


def test_mapped_twice_it_is_every_run_alone() -> None:
    x, inner, weight = normal(2, 5, 3, 4), normal(2, 5, 1, 2, 2), normal(6, 4, trained=False)

    def layer(x: Tensor, inner: Tensor) -> Tensor:
        return projected_linear(x, weight, None, (-2.0,), inner)

    together = torch.vmap(torch.vmap(layer))(x, inner)
    each = torch.stack([layer(*both) for both in zip(x.flatten(0, 1), inner.flatten(0, 1), strict=True)])
    torch.testing.assert_close(together.flatten(0, 1), each)
    torch.testing.assert_close(*(torch.autograd.grad((y**3).sum(), (x, inner)) for y in (together, each)))


def test_a_block_product_is_that_of_the_block_diagonal_matrix() -> None:
    x, matrices = normal(2, 5, 12), normal(3, 4, 4, trained=False)
    torch.testing.assert_close(block_product(x, matrices), x @ torch.block_diag(*matrices))


def adapted(method: str, options: dict[str, Any], width: int = WIDTH) -> nn.Module:
    torch.manual_seed(0)
    base = nn.Sequential(nn.Linear(width, width)).requires_grad_(False)
    return get_peft_model(base, methods.config(method, options, ["0"]))  # type: ignore[arg-type]


def numbers_kept(method: str, options: dict[str, Any], tokens: int) -> int:
    """For the backward pass, beside the input, the layer's own weight and what is trained."""
    model, x = adapted(method, options), torch.randn(1, tokens, WIDTH, requires_grad=True)
    known = {tensor.untyped_storage().data_ptr() for tensor in (x, *model.parameters())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes() // tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        y = model(x)
    del y
    return sum(size for where, size in kept.items() if where not in known)


@pytest.mark.parametrize(("method", "options"), LAYERS, ids=str)
def test_beyond_its_input_a_layer_keeps_nothing_that_grows_with_the_tokens(
    method: str, options: dict[str, Any]
) -> None:
    kept = numbers_kept(method, options, TOKENS)
    assert kept == numbers_kept(method, options, 2 * TOKENS)
    if method.startswith("ether"):  # OFT and Naive keep their matrices, d^2 / n
        assert kept <= 0.05 * TOKENS * WIDTH


@pytest.mark.parametrize(("method", "options"), LAYERS, ids=str)
def test_under_checkpointing_and_autocast_gradients_stay(method: str, options: dict[str, Any]) -> None:
    model, x = adapted(method, options, 96 if options["blocks"] != 24 else 48), None
    width = model.base_model.model[0].in_features  # type: ignore[union-attr, index]
    x = torch.randn(7, width, requires_grad=True)
    trained = [x, *(p for p in model.parameters() if p.requires_grad)]
    for p in trained[1:]:
        p.data += 0.1 * torch.randn_like(p)
    plain = torch.autograd.grad(model(x).square().sum(), trained)
    again = torch.autograd.grad(checkpoint(model, x, use_reentrant=False).square().sum(), trained)
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    with torch.autocast("cpu", torch.bfloat16):
        y = model(x)
    rough = torch.autograd.grad(y.float().square().sum(), trained)
    for a, b in zip(plain, rough, strict=True):
        assert b.dtype == torch.float32 and (a - b).norm() < 0.03 * a.norm()


def test_a_trained_weight_and_bias_get_their_gradients() -> None:
    x = normal(5, 12)
    layers = [EtherLayer(nn.Linear(12, 6).double(), "default", methods.config("ether", {"blocks": 2}, ["0"]))]
    layer = layers[0].double()
    layer.get_base_layer().requires_grad_()
    for wanted in ("weight", "bias"):
        tensor = getattr(layer.get_base_layer(), wanted)

        def output(value: Tensor, wanted: str = wanted) -> Tensor:
            return torch.func.functional_call(layer, {f"base_layer.{wanted}": value}, (x,))

        assert torch.autograd.gradcheck(output, (tensor,))


def test_a_method_that_changes_its_parents_pre_is_not_computed_as_its_parent() -> None:
    class Halved(EtherLayer):
        def pre(self, x: Tensor, p: Parameters) -> Tensor:
            return super().pre(x, p) / 2

    torch.manual_seed(0)
    config = methods.config("ether", {"blocks": 2}, ["0"])
    parent = EtherLayer(nn.Linear(8, 6, bias=False), "default", config)
    child = Halved(parent.base_layer, "default", config)
    child.load_state_dict(parent.state_dict())
    x = torch.randn(3, 8)
    torch.testing.assert_close(child(x), parent(x) / 2)
