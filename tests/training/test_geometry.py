"""Distances and hyperspherical energy against hand-computed values and a plain double loop."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from study import methods
from study.training import geometry
from study.training.geometry import (
    Geometry,
    distance_to_identity,
    frobenius,
    hyperspherical_energies,
    hyperspherical_energy,
    oft_energies,
    oft_energy,
)
from study.training.packing import pack


def brute_force(weight: torch.Tensor) -> tuple[float, int]:
    rows = [row / row.norm() for row in weight.double()]
    total, pairs, duplicates = 0.0, 0, 0
    for i in range(len(rows)):
        for j in range(len(rows)):
            if i != j:
                distance = (rows[i] - rows[j]).norm().item()
                if distance < 1e-15:
                    duplicates += 1
                else:
                    total, pairs = total + 1 / distance, pairs + 1
    return total / pairs, duplicates // 2


@pytest.mark.parametrize("rows_at_once", [1, 7, 512])
def test_energy_equals_a_double_loop(rows_at_once: int) -> None:
    torch.manual_seed(0)
    weight = torch.randn(40, 16, dtype=torch.float64)
    weight[3] = 3 * weight[7]  # the same direction
    weight[5] = weight[6] + 1e-7 * torch.randn(16, dtype=torch.float64)  # nearly the same
    energy, duplicates = hyperspherical_energy(weight, rows_at_once)
    expected, expected_duplicates = brute_force(weight)
    assert duplicates == expected_duplicates == 1
    assert energy == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("s,half_space", [(0, False), (2, False), (0, True), (1, True), (2, True)])
def test_other_energies_equal_a_double_loop(s: int, half_space: bool) -> None:
    torch.manual_seed(0)
    weight = torch.randn(20, 6, dtype=torch.float64)
    rows = [row / row.norm() for row in weight]
    values = []
    for i in range(20):
        for j in range(i):
            for sign in (1, -1) if half_space else (1,):
                r = (rows[i] - sign * rows[j]).norm().item()
                values.append(-math.log(r) if s == 0 else r**-s)
    energy, _ = hyperspherical_energy(weight, 7, s, half_space)
    assert energy == pytest.approx(sum(values) / len(values), rel=1e-12)
    with pytest.raises(ValueError, match="s must be"):
        hyperspherical_energy(weight, s=3)


def test_energy_by_hand() -> None:
    # Unit vectors at right angles are sqrt(2) apart, opposite ones 2.
    right_angle, _ = hyperspherical_energy(torch.tensor([[1.0, 0], [0, 5]]))
    assert right_angle == pytest.approx(1 / math.sqrt(2))
    cross, _ = hyperspherical_energy(torch.tensor([[1.0, 0], [0, 1], [-1, 0], [0, -1]]))
    assert cross == pytest.approx((4 / math.sqrt(2) + 2 / 2) / 6)


def test_energy_without_a_pair_or_with_broken_neurons_is_nan_and_counts() -> None:
    energy, duplicates = hyperspherical_energy(torch.ones(3, 4))
    assert math.isnan(energy) and duplicates == 3
    for value in (0.0, math.inf, math.nan):
        weight = torch.eye(3)
        weight[0] = value
        assert math.isnan(hyperspherical_energy(weight)[0])
    with pytest.raises(ValueError, match="at least two neurons"):
        hyperspherical_energy(torch.ones(1, 4))


def test_frobenius_and_distance_to_identity_by_hand() -> None:
    assert frobenius(torch.tensor([[3.0, 0], [0, 4]])).item() == 5
    blocks = torch.tensor([[[1.0, 2], [0, 1]], [[1, 0], [0, 4]]])
    assert distance_to_identity(blocks).item() == pytest.approx(math.sqrt(4 + 9))


def dense_oft_energy(weight: torch.Tensor) -> float:
    """As in OFT's code: a neuron per output, every one and its opposite, all pairs at once."""
    rows = weight.double().flatten(1)
    both = torch.cat([rows, -rows])
    lengths = torch.sqrt((both * both).sum(1) + 1e-4)
    cosines = (both @ both.T) / torch.outer(lengths, lengths)
    i, j = torch.triu_indices(len(both), len(both), 1)
    return ((2 - 2 * cosines[i, j]) ** -0.5).mean().item()


@pytest.mark.parametrize("rows_at_once", [1, 7, 512])
def test_ofts_energy_equals_all_pairs_at_once(rows_at_once: int) -> None:
    torch.manual_seed(0)
    weight = 0.1 * torch.randn(20, 6)  # so short that the epsilon counts
    weight[3] = 3 * weight[7]  # the same direction, which the epsilon keeps finite
    assert oft_energy(weight, rows_at_once) == pytest.approx(dense_oft_energy(weight), rel=1e-10)


def test_ofts_energy_by_hand() -> None:
    # Four vectors: two pairs of opposites, 2 apart, and four at right angles, sqrt(2) apart.
    energy = oft_energy(torch.tensor([[1e4, 0], [0, 1e4]]))
    assert energy == pytest.approx((2 / 2 + 4 / math.sqrt(2)) / 6)
    assert oft_energy(torch.tensor([[0.01, 0.0]])) == pytest.approx((2 + 2 * 1e-4 / 2e-4) ** -0.5)
    assert oft_energy(torch.zeros(1, 3)) == pytest.approx(2**-0.5)
    assert math.isnan(oft_energy(torch.tensor([[math.inf, 1.0], [0, 1]])))


class Convolved(nn.Module):
    """Two adapted layers, one that is not, a convolution and a norm, as a UNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 2), nn.LayerNorm(8)
        self.first, self.second, self.last = nn.Linear(8, 8), nn.Linear(8, 12), nn.Linear(12, 4)


@pytest.mark.parametrize("method", ["ether_plus", "naive", "oft"])
def test_ofts_change_is_that_of_the_sum_over_all_matrices_and_convolutions(method: str) -> None:
    torch.manual_seed(0)
    model = Convolved().requires_grad_(False)
    packed, parameters = pack(model, methods.config(method, {"blocks": 2}, ["first", "second"]), [0, 1])
    flat = parameters.copy()
    flat = flat + 0.3 * torch.randn_like(flat)
    geometry = Geometry(packed, "oft")
    measured = geometry.measure(flat)
    layers = packed.adapted_layers()
    changed = [layers[name].effective_weights(packed.tensors(flat)[name])[1] for name in layers]
    packed.close()
    before = sum(dense_oft_energy(p) for p in model.parameters() if p.ndim in (2, 4))
    for run, rows in enumerate(measured):
        transformed = {name: weights[run] for name, weights in zip(layers, changed, strict=True)}
        after = sum(
            dense_oft_energy(transformed.get(name.removesuffix(".weight"), p))
            for name, p in model.named_parameters()
            if p.ndim in (2, 4)
        )
        change = geometry.summary(rows)["he_change"]
        assert change == pytest.approx(after - before, rel=1e-6, abs=1e-10)
        if method == "oft":
            assert change == pytest.approx(0, abs=1e-9)
        else:
            assert abs(change) > 1e-4


@pytest.mark.parametrize("pairs_at_once", [1, 2**24])
def test_runs_measured_together_get_what_they_get_alone(
    pairs_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken run among them, one with duplicates, and however few pairs are held at a time."""
    monkeypatch.setattr(geometry, "PAIRS_AT_ONCE", pairs_at_once)
    weights = torch.randn(4, 12, 5, generator=torch.Generator().manual_seed(0))
    weights[1, 3, 2] = math.inf
    weights[2, 7] = 2 * weights[2, 4]
    energies, duplicates = hyperspherical_energies(weights, 5)
    alone = [hyperspherical_energy(weight) for weight in weights]
    assert energies.tolist() == pytest.approx([energy for energy, _ in alone], rel=1e-12, nan_ok=True)
    assert duplicates.tolist() == [count for _, count in alone] == [0, 0, 1, 0]
    assert math.isnan(alone[1][0])
    of_oft = [oft_energy(weight) for weight in weights]
    assert oft_energies(weights, 5).tolist() == pytest.approx(of_oft, rel=1e-12, nan_ok=True)
    assert math.isnan(of_oft[1]) and math.isfinite(of_oft[2])
