"""Projections on a few directions per block, and a frozen linear layer between them, in thin products.

What PyTorch records for such a layer keeps its output, and more tensors as large, for the backward pass, and
reads and writes them more often than needed. `projected_linear` keeps the layer's input alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from study.methods.tuner.precision import autocast_dtype, without_autocast

MOST_BANDS, FEWEST_ROWS = 16, 2
"""Of the products into which blocks are put together. On a CPU, 768 wide, products with one row take twice as
long as with two, and more than 16 of them take longer to call than to compute."""


def unit(u: Tensor) -> Tensor:
    """Each vector at length one: (..., b) -> (..., b)."""
    return u / u.norm(dim=-1, keepdim=True)


def as_rows(units: Tensor) -> Tensor:
    """The blocks' vectors as rows, each zero outside its block: (..., t, n, b) -> (..., n t, n b)."""
    blocks = units.shape[-2]
    diagonal = torch.eye(blocks, dtype=units.dtype, device=units.device)[:, None, :, None]
    return (units.transpose(-3, -2).unsqueeze(-2) * diagonal).flatten(-2).flatten(-3, -2)


def factors_of_rows(units: Tensor, coefficients: Sequence[float]) -> Tensor:
    """The coefficient of each row that `as_rows` makes of units, (..., t, n, b): (n t, 1).

    Written on the device: a tensor made of Python's numbers would make a GPU wait for it.
    """
    factors = torch.empty(units.shape[-2], len(coefficients), dtype=units.dtype, device=units.device)
    for term, coefficient in enumerate(coefficients):
        factors[:, term] = coefficient
    return factors.view(-1, 1)


class Projections:
    """I + sum of c u u^T over t terms, in each of n blocks, where u are unit vectors: symmetric.

    Several neighbouring blocks make a band, in which their vectors are zero outside their own block: a few
    more numbers to multiply, in far fewer products. Bands are the batch of these products. In a pack the runs
    are: each has one band, w = d, and the shapes below hold with m runs.

    Args:
        normals: (t, n, b), of any length; u has their directions. Of a pack, (runs, t, n, b).
        coefficients: t numbers c.
        dtype: of the tokens.

    Attributes:
        rows: the vectors u of each of m bands, (m, k, w), where m k = t n and m w = n b.
        scaled: the same, each times its c.
    """

    def __init__(self, normals: Tensor, coefficients: Sequence[float], dtype: torch.dtype) -> None:
        *runs, terms, blocks, _ = normals.shape
        self._packed = bool(runs)
        fitting = [
            m for m in range(1, MOST_BANDS + 1) if blocks % m == 0 and terms * blocks >= m * FEWEST_ROWS
        ]
        self._bands = 1 if self._packed else max(fitting, default=1)
        self._lengths = normals.norm(dim=-1, keepdim=True)
        self._units = units = normals / self._lengths
        if not self._packed:
            units = units.unflatten(1, (self._bands, -1)).transpose(0, 1)  # (m, t, n / m, b)
        rows = units.squeeze(-2) if self._bands == blocks else as_rows(units)
        self.rows = rows.contiguous().to(dtype)
        self._factors = factors_of_rows(units, coefficients)
        self.scaled = (rows * self._factors).to(dtype)

    def bands(self, x: Tensor) -> Tensor:
        """A view of tokens: (tokens, d) -> (m, tokens, w), and a pack's as they are."""
        return x if self._packed else x.unflatten(-1, (self._bands, -1)).transpose(0, 1)

    def products(self, x: Tensor) -> Tensor:
        """Every vector's product with every token: (tokens, d) -> (m, k, tokens)."""
        return torch.bmm(self.rows, self.bands(x).mT)

    def __call__(self, x: Tensor) -> Tensor:
        """(tokens, d) -> (tokens, d); of a pack, (runs, tokens, d) -> (runs, tokens, d)."""
        images = torch.baddbmm(self.bands(x), self.products(x).mT, self.scaled)  # (m, tokens, w)
        return images if self._packed else images.transpose(0, 1).flatten(1)

    def add_(self, x: Tensor, products: Tensor) -> Tensor:
        """The same in place, given the products: half as much to read and write."""
        self.bands(x).baddbmm_(products.mT, self.scaled)
        return x

    def gradient(self, sums: Tensor) -> Tensor:
        """Of the normals, in their shape.

        Args:
            sums: over tokens, of products times gradient plus the gradient's products times token, (m, k, w).
        """
        units = self._units
        terms, width = units.shape[-3], units.shape[-1]
        of_rows = (sums.to(units.dtype) * self._factors).unflatten(1, (-1, terms))
        own = of_rows.unflatten(-1, (-1, width)).diagonal(dim1=1, dim2=3)  # (m, t, b, n / m)
        of_bands = own.mT if self._packed else own.permute(1, 0, 3, 2)
        of_units = of_bands.reshape(units.shape)
        return (of_units - units * (units * of_units).sum(-1, keepdim=True)) / self._lengths


def project(x: Tensor, normals: Tensor, coefficients: Sequence[float]) -> Tensor:
    """Every token's image, in the dtype of x: (..., d) -> (..., d); see `Projections`."""
    return Projections(normals, coefficients, x.dtype)(x.reshape(-1, x.shape[-1])).view(x.shape)


def projected_linear(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    coefficients: Sequence[float],
    inner: Tensor,
    outer: Tensor | None = None,
) -> Tensor:
    """Q W P x + b with projections P and Q, where weight and bias are frozen: (..., d) -> (..., f).

    Args:
        coefficients: t numbers, of both sides.
        inner: the normals of P, (t, n, d/n).
        outer: those of Q, (t, n, f/n); None where Q is the identity.
    """
    dtype = autocast_dtype(x.device) or weight.dtype
    tokens, bias = x.reshape(-1, x.shape[-1]).to(dtype), None if bias is None else bias.to(dtype)
    # torch.compile knows no views that are written to, and decides itself what to keep.
    function: Any = _plain if torch.compiler.is_compiling() else ProjectedLinear.apply
    with without_autocast(x.device):
        y: Tensor = function(tokens, weight.to(dtype), bias, tuple(coefficients), inner, outer)
    return y.view(*x.shape[:-1], -1)


class ProjectedLinear(torch.autograd.Function):
    """(tokens, d) -> (tokens, f): see `projected_linear`. Weight and bias get no gradient.

    Of a pack, with normals of (runs, t, n, b): (runs, tokens, d) -> (runs, tokens, f).

    Of what has an axis of tokens the input alone is kept. An outer side's gradient needs the layer's output
    y = W P x in sums over tokens alone, p y^T = (p x^T) P W^T with p of (k, tokens): a few rows times W.
    """

    @staticmethod
    def forward(
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        coefficients: tuple[float, ...],
        inner: Tensor,
        outer: Tensor | None,
    ) -> Tensor:
        p = Projections(inner, coefficients, x.dtype)
        h = p.add_(x.clone(), p.products(x))
        if outer is None:
            return F.linear(h, weight, bias)
        y, q = F.linear(h, weight), Projections(outer, coefficients, x.dtype)
        q.add_(y, q.products(y))
        return y if bias is None else y.add_(bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, _, ctx.coefficients, inner, outer = inputs
        ctx.save_for_backward(x, weight, inner, outer)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, inner, outer = ctx.saved_tensors
        p, of_outer = Projections(inner, ctx.coefficients, x.dtype), None
        if outer is not None:
            q = Projections(outer, ctx.coefficients, x.dtype)
            products = q.products(grad)
            of_y, y_products = _of_outputs(x, weight, p, q, products)
            of_outer = q.gradient(torch.baddbmm(of_y, y_products, q.bands(grad)))
            grad = q.add_(grad.clone(), products)
        of_x = grad @ weight
        products = p.products(of_x)
        sums = torch.baddbmm(torch.bmm(products, p.bands(x)), p.products(x), p.bands(of_x))
        # Where a second derivative may be asked for, what its graph holds is not overwritten.
        of_x = p.add_(of_x.clone() if torch.is_grad_enabled() else of_x, products)
        return of_x, None, None, None, p.gradient(sums), of_outer

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Any) -> tuple[Tensor, int]:
        x, weight, bias, coefficients, inner, outer = inputs
        normals_mapped = in_dims[4] is not None and (outer is None or in_dims[5] is not None)
        if in_dims[1] is not None or in_dims[2] is not None or not normals_mapped or inner.ndim > 4:
            return torch.vmap(_plain, in_dims)(*inputs), 0
        x = x.expand(info.batch_size, *x.shape) if in_dims[0] is None else x.movedim(in_dims[0], 0)
        inner = inner.movedim(in_dims[4], 0)
        outer = None if outer is None else outer.movedim(in_dims[5], 0)
        y: Tensor = ProjectedLinear.apply(x, weight, bias, coefficients, inner, outer)  # type: ignore[no-untyped-call]
        return y, 0


def _of_outputs(
    x: Tensor, weight: Tensor, p: Projections, q: Projections, products: Tensor
) -> tuple[Tensor, Tensor]:
    """Without y = W P x itself: `products` times it, (m, k, w), and those of Q's vectors, (m, k, tokens)."""
    bands, rows, _ = products.shape
    if x.ndim == 3:  # a pack
        return p(products @ x) @ weight.mT, p(q.rows @ weight) @ x.mT
    of_bands = weight.unflatten(0, (bands, -1))  # (m, w, d)
    sums = p(products.flatten(0, 1) @ x).unflatten(0, (bands, rows))  # (m, k, d)
    vectors = p(torch.bmm(q.rows, of_bands).flatten(0, 1))  # Q's, as they meet x: (m k, d)
    return torch.bmm(sums, of_bands.mT), (vectors @ x.mT).unflatten(0, (bands, rows))


def _plain(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    coefficients: tuple[float, ...],
    inner: Tensor,
    outer: Tensor | None,
) -> Tensor:
    """The same with every tensor new, which any transformation of PyTorch can take."""
    y = F.linear(Projections(inner, coefficients, x.dtype)(x), weight)
    y = y if outer is None else Projections(outer, coefficients, y.dtype)(y)
    return y if bias is None else y + bias
