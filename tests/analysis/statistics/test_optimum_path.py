"""Where the best rate lies, refined between the rates of a grid, and by how much it moves."""

from __future__ import annotations

import numpy as np
import pytest

from analysis.data.scores import Scores
from analysis.statistics import bootstrap
from analysis.statistics.optimum_path import (
    GRID_ERROR,
    MOVES_DOWN,
    MOVES_UP,
    STAYS,
    UNDECIDED,
    best_log_lr,
    optimum_path,
    slope_of,
)

LOG_LR = np.linspace(-4, 0, 9)


def best(curve: list[float], log_lr: list[float] | None = None) -> tuple[float, bool, bool]:
    scores = np.array([curve])
    grid = np.array(log_lr if log_lr is not None else range(len(curve)), dtype=float)
    where, low, high = best_log_lr(scores, grid, np.array([np.argmax(scores)]))
    return float(where[0]), bool(low[0]), bool(high[0])


def test_the_vertex_by_hand() -> None:
    assert best([1, 3, 2, 0]) == (pytest.approx(1 + 0.5 * (2 - 1) / 3), False, False)  # (fb-fa)/2(fa+fb)
    assert best([0, 1, 0]) == (1.0, False, False)
    assert best([0, 3, 3, 0]) == (1.5, False, False), "of equal rates the middle"
    assert best([0, 3, 3, 3, 1])[0] == 2.0


def test_a_parabola_is_found_on_any_grid() -> None:
    grid = [-4.0, -3.1, -2.5, -1.0, 0.0]  # unequal steps
    where, *_ = best([-((x + 2.3) ** 2) for x in grid], grid)
    assert where == pytest.approx(-2.3)


def test_an_end_of_the_grid_is_a_bound() -> None:
    assert best([3, 2, 1]) == (0.0, True, False)
    assert best([1, 2, 3]) == (2.0, False, True)
    assert best([1, 2, 3, 3]) == (2.5, False, True), "one that equals the best is at the end"
    assert best([5]) == (0.0, True, True)


def test_no_vertex_is_farther_off_than_half_a_step() -> None:
    assert best([0.9, 0.91, -1e9])[0] == pytest.approx(0.5, abs=1e-3)


def test_the_slope_by_hand() -> None:
    assert slope_of(np.array([0.0, 2.0, 3.0]), np.array([1.0, 2.0, 2.5])) == pytest.approx(0.5)


def simulated(
    slope: float, rng: np.random.Generator, seeds: int = 5, first: float = -2.4, noise: float = 0.01
) -> dict[float, Scores]:
    """Hills whose best rate moves by `slope` decades from each of 1, 2, 4 and 8 to the next."""
    found = {}
    for doublings in range(4):
        curve = 0.9 * np.exp(-(((LOG_LR - first - slope * doublings) / 2) ** 2))
        scores = curve[:, None] + rng.normal(0, noise, (len(LOG_LR), seeds))
        never = np.zeros(len(LOG_LR), dtype=bool)
        found[2.0**doublings] = Scores(10**LOG_LR, np.arange(seeds), scores, scores, never)
    return found


@pytest.mark.parametrize("slope,verdict", [(0.3, MOVES_UP), (0.0, STAYS), (-0.3, MOVES_DOWN)])
def test_a_known_slope_is_found(slope: float, verdict: str) -> None:
    path = optimum_path(simulated(slope, np.random.default_rng(0)), 1.0)
    assert path.slope == pytest.approx(slope, abs=0.02)
    assert path.verdict == verdict
    assert path.low - GRID_ERROR <= slope <= path.high + GRID_ERROR
    assert np.log10(path.places["best_lr"]).tolist() == pytest.approx(
        [-2.4 + slope * i for i in range(4)], abs=0.1
    )
    losses = {value: Scores(s.lrs, s.seeds, -s.valid, -s.test, s.all_diverged)
              for value, s in simulated(slope, np.random.default_rng(0)).items()}  # fmt: skip
    assert optimum_path(losses, -1.0).slope == pytest.approx(path.slope), "less is better"


def test_the_interval_holds_the_truth_as_often_as_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bootstrap, "RESAMPLES", 200)
    rng = np.random.default_rng(3)
    paths = [optimum_path(simulated(0.15, rng), 1.0) for _ in range(60)]
    held = [np.mean([p.low - margin <= 0.15 <= p.high + margin for p in paths]) for margin in (0, GRID_ERROR)]
    assert 0.75 <= held[0] <= 0.95 and held[1] >= 0.97, "of seeds alone, and with what the grid may add"
    assert np.mean([path.slope for path in paths]) == pytest.approx(0.15, abs=0.01)


def test_values_at_an_end_of_the_grid_are_left_out_and_named() -> None:
    path = optimum_path(simulated(1.0, np.random.default_rng(0), first=-2.4), 1.0)  # the last beyond 1.0
    assert path.left_out == [8.0] and path.places["end"].tolist() == ["", "", "", "high"]
    assert path.slope == pytest.approx(1.0, abs=0.05)
    beyond = optimum_path(simulated(0.0, np.random.default_rng(0), first=1.0), 1.0)
    assert np.isnan(beyond.slope) and "no value" in beyond.why_not and beyond.verdict == UNDECIDED


def test_few_seeds_give_no_verdict_and_one_no_interval() -> None:
    two = optimum_path(simulated(0.3, np.random.default_rng(0), seeds=2), 1.0)
    assert two.verdict == UNDECIDED and np.isfinite(two.low)
    one = optimum_path(simulated(0.3, np.random.default_rng(0), seeds=1), 1.0)
    assert one.verdict == UNDECIDED and np.isnan(one.low) and np.isfinite(one.slope)
    assert one.text == f"{one.slope:+.2f}" and one.places["best_lr_low"].isna().all()


def test_zero_is_no_place_on_an_axis_of_doublings() -> None:
    with_zero = {
        0.0: simulated(0.3, np.random.default_rng(1))[1.0],
        **simulated(0.3, np.random.default_rng(0)),
    }
    path = optimum_path(with_zero, 1.0)
    assert len(path.places) == 5 and path.slope == pytest.approx(0.3, abs=0.02)


def test_a_rate_at_which_every_run_diverged_is_never_the_best() -> None:
    axis = simulated(0.0, np.random.default_rng(0))
    for value, s in axis.items():
        s.valid[-1] = 5.0  # whatever a diverged run scores
        diverged = np.arange(len(LOG_LR)) == len(LOG_LR) - 1
        axis[value] = Scores(s.lrs, s.seeds, s.valid, s.test, diverged)
    assert optimum_path(axis, 1.0).verdict == STAYS
