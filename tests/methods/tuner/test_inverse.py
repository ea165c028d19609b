"""Inverses by halves against those in float64, at all sizes of the skew part."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from study.methods.tuner.inverse import inverses

SIZES = (0.0, 1e-3, 0.1, 1.0, 10.0, 100.0, 1e3, 1e5)


def matrices(width: int, size: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """(9, width, width): I + S of skew S in three kinds, random, of rank two, and with rows that grow."""
    generator = torch.Generator().manual_seed(width)
    r = size * torch.randn(9, width, width, generator=generator, dtype=torch.float64)
    r[3:6] *= torch.zeros(width, width, dtype=torch.float64).index_fill_(0, torch.tensor(0), 1.0)
    r[6:] *= torch.logspace(-3, 0, width, dtype=torch.float64).unsqueeze(-1)
    return (torch.eye(width, dtype=torch.float64) + r - r.mT).to(dtype)


def errors(inverse: Tensor, a: Tensor) -> Tensor:
    """The largest of each matrix, (9,)."""
    return (inverse.double() - torch.linalg.inv(a.double())).abs().amax((-2, -1))


@pytest.mark.parametrize("width", [1, 5, 16, 17, 33, 64, 100, 256])
def test_they_are_as_close_as_lapacks_whatever_the_size(width: int) -> None:
    """Or within what the trial lets pass, 100 of float32's steps. LAPACK's depend on whether rows or columns
    come first, so its larger ones count."""
    for size in SIZES:
        a = matrices(width, size)
        of_lapack = torch.maximum(errors(torch.linalg.inv(a), a), errors(torch.linalg.inv(a.mT).mT, a))
        allowed = (2 * of_lapack).clamp_min(100 * torch.finfo(a.dtype).eps)
        assert (errors(inverses(a), a) <= allowed).all(), size


def test_in_float64_they_are_as_close_as_float64_allows() -> None:
    for size in SIZES[:5]:
        a = matrices(64, size, torch.float64)
        torch.testing.assert_close(inverses(a) @ a, torch.eye(64).double().expand_as(a), rtol=0, atol=1e-10)


def test_those_that_fail_by_halves_are_lapacks() -> None:
    a = torch.cat([matrices(64, 0.1), matrices(64, 1e3)])
    inverse, lapacks = inverses(a), torch.linalg.inv(a)
    large = [9, 10, 11]  # of random entries
    assert torch.equal(inverse[large], lapacks[large])
    assert not torch.equal(inverse[:9], lapacks[:9])


def test_each_is_what_it_is_alone() -> None:
    """Beside others that fail, and others that are not finite."""
    a = torch.cat([matrices(64, 0.1), matrices(64, 1e3), matrices(64, 1.0)])
    a[4], a[20, 3, 5] = torch.nan, torch.nan
    together = inverses(a.unflatten(0, (3, 9)))
    assert together.shape == (3, 9, 64, 64)
    for one, inverse in zip(a, together.flatten(0, 1), strict=True):
        torch.testing.assert_close(inverses(one), inverse, rtol=0, atol=1e-6, equal_nan=True)
    finite = torch.ones(27, dtype=torch.bool)
    finite[[4, 20]] = False
    assert torch.equal(together.flatten(0, 1).isfinite().all(-1).all(-1), finite)


def test_columns_before_rows_and_no_matrices_at_all() -> None:
    a = matrices(40, 0.5)
    torch.testing.assert_close(inverses(a.mT), inverses(a).mT, rtol=0, atol=1e-5)
    assert inverses(a[:0]).shape == (0, 40, 40)
