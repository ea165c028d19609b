"""Numbers from keys and coordinates: distributed as they should be, and independent of size and device."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from study.training.randomness.coordinates import mixed, normal, uniform

CPU = torch.device("cpu")
KEYS = [mixed(mixed(0, seed), 17) for seed in range(20)]


def correlation(a: Tensor, b: Tensor) -> float:
    """In standard deviations of what chance gives."""
    a, b = a.flatten().double(), b.flatten().double()
    return float(torch.corrcoef(torch.stack([a, b]))[0, 1]) * math.sqrt(a.numel())


def test_uniform_is_uniform() -> None:
    values = uniform(KEYS, (100, 100), CPU)
    assert values.dtype == torch.float32 and values.min() >= 0 and values.max() < 1
    assert stats.kstest(values.flatten().numpy(), "uniform").pvalue > 0.001
    counts = torch.histc(values, 1000, 0, 1)
    assert stats.chisquare(counts.numpy()).pvalue > 0.001


def test_normal_is_normal() -> None:
    values = normal(KEYS, (100, 100), CPU).flatten()
    assert stats.kstest(values.numpy(), "norm").pvalue > 0.001
    assert torch.isfinite(values).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("lag", [1, 2, 16])
def test_neighbours_are_independent(axis: int, lag: int) -> None:
    values = uniform(KEYS, (200, 100), CPU)
    length = values.shape[axis] - lag
    assert abs(correlation(values.narrow(axis, 0, length), values.narrow(axis, lag, length))) < 4


def test_runs_steps_and_places_are_independent() -> None:
    """Keys that differ in one bit of the seed or the step give unrelated numbers."""
    for one, other in [((0, 5), (1, 5)), ((0, 5), (0, 6)), ((2, 7), (3, 6))]:
        a, b = (uniform([mixed(mixed(0, seed), step)], (300, 300), CPU) for seed, step in (one, other))
        assert abs(correlation(a, b)) < 4


def test_first_numbers_of_many_keys_are_uniform() -> None:
    firsts = uniform([mixed(mixed(0, seed), step) for seed in range(50) for step in range(200)], (1,), CPU)
    assert stats.kstest(firsts.flatten().numpy(), "uniform").pvalue > 0.001


@pytest.mark.parametrize("numbers", [uniform, normal])
def test_a_larger_tensor_begins_with_the_smaller(numbers: object) -> None:
    """Padding for the sake of another run leaves a run's own numbers as they are."""
    small, large = numbers(KEYS[:3], (4, 5, 6), CPU), numbers(KEYS[1:2], (9, 7, 31), CPU)  # type: ignore[operator]
    assert torch.equal(small[1], large[0, :4, :5, :6])


def test_by_hand() -> None:
    """The first number of one key, computed with Python's integers."""

    def mix(x: int) -> int:
        x ^= x >> 16
        x = x * 0x7FEB352D & 0xFFFFFFFF
        x ^= x >> 15
        x = x * 0x846CA68B & 0xFFFFFFFF
        return x ^ x >> 16

    key = mixed(3, 4)
    state = mix(mix(key & 0xFFFFFFFF) ^ key >> 32 & 0xFFFFFFFF)
    for index in (2, 1):
        state = mix(state ^ ((index + 1) * 0x9E3779B9 & 0xFFFFFFFF))
    assert uniform([key], (3, 2), CPU)[0, 2, 1].item() == (state >> 8) / 2**24


def test_mixing_is_splitmix64() -> None:
    """The first outputs of the reference implementation for the state 0, their upper 62 bits."""
    assert mixed(0, 0) == 0xE220A8397B1DCDAF >> 2
    assert mixed(0, 1) == 0x6E789E6AA1B965F4 >> 2
