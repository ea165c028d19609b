"""How often the nominal 95 % intervals of the robustness table hold the truth, by the number of seeds.

`python -m analysis.statistics.coverage` prints COVERAGE anew, in two minutes. Simulated is a method whose
mean score over nine rates, half a decade apart, is a hill of height 0.9 and width 4 decades, at its best
between two rates. A run's score is off it by an effect that its validation and test share (standard deviation
0.01) and one of each split's own (0.007), all normal. An interval is to hold the figure of the true curve at
the true best rate, so a wrongly chosen rate counts against it.
"""

from __future__ import annotations

from unittest import mock

import numpy as np
import pandas as pd

from analysis.statistics import bootstrap
from analysis.statistics.curves import PLATEAUS, WINDOW_DECADES, below, mean_regret, plateau
from analysis.statistics.robustness import robustness_table

LOG_LR = np.linspace(-4, 0, 9)
TRUE_CURVE = 0.9 * np.exp(-(((LOG_LR + 2.1) / 4) ** 2))

COVERAGE: dict[int, dict[str, float]] = {
    2: {"tuned_test": 0.95, "regret_window": 0.96, "plateau_10": 0.76},
    3: {"tuned_test": 0.94, "regret_window": 0.96, "plateau_10": 0.85},
    4: {"tuned_test": 0.95, "regret_window": 0.94, "plateau_10": 0.89},
    5: {"tuned_test": 0.95, "regret_window": 0.96, "plateau_10": 0.92},
    6: {"tuned_test": 0.94, "regret_window": 0.95, "plateau_10": 0.92},
    8: {"tuned_test": 0.95, "regret_window": 0.95, "plateau_10": 0.93},
    10: {"tuned_test": 0.96, "regret_window": 0.96, "plateau_10": 0.94},
}
"""Seeds -> figure of the robustness table -> share of 1000 simulated studies whose interval held it."""


def coverage_of(seeds: int) -> tuple[int, dict[str, float]]:
    """The row of COVERAGE that holds for so many seeds, and the number of seeds it was simulated with.

    Raises:
        ValueError: with fewer than two seeds, for then there is no interval.
    """
    if seeds < min(COVERAGE):
        raise ValueError(f"no interval with {seeds} seeds")
    simulated = max(count for count in COVERAGE if count <= seeds)
    return simulated, COVERAGE[simulated]


def simulate(seeds: int, studies: int, resamples: int = 400) -> dict[str, float]:
    """One row of COVERAGE."""
    rng = np.random.default_rng(seeds)
    best = np.asarray(TRUE_CURVE.argmax())
    truth = {
        "tuned_test": TRUE_CURVE[best],
        "regret_window": mean_regret(TRUE_CURVE, LOG_LR, best, -WINDOW_DECADES, WINDOW_DECADES),
        "plateau_10": plateau(TRUE_CURVE, LOG_LR, best, below(TRUE_CURVE[best], PLATEAUS["plateau_10"]))[0],
    }
    held = dict.fromkeys(truth, 0)
    with mock.patch.object(bootstrap, "RESAMPLES", resamples):
        for _ in range(studies):
            row = robustness_table(_study(seeds, rng)).iloc[0]
            for name, value in truth.items():
                held[name] += bool(row[f"{name}_low"] <= value <= row[f"{name}_high"])
    return {name: round(count / studies, 2) for name, count in held.items()}


def _study(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """The labelled runs of one simulated method."""
    shape = (len(LOG_LR), seeds)
    run = TRUE_CURVE[:, None] + rng.normal(0, 0.01, shape)
    valid, test = (run + rng.normal(0, 0.007, shape) for _ in range(2))
    return pd.DataFrame(
        {
            "lr": np.repeat(10**LOG_LR, seeds),
            "seed": np.tile(np.arange(seeds), len(LOG_LR)),
            "valid": valid.ravel(),
            "test": test.ravel(),
        }
    ).assign(
        method="m", label="m", rank=0, counted=True, status="ok", higher_is_better=True,
        chance=0.1, base_test=0.1, parameters=1, step_seconds=1.0,
    )  # fmt: skip


if __name__ == "__main__":
    for count in (2, 3, 4, 5, 6, 8, 10):
        print(f"    {count}: {simulate(count, 1000)},", flush=True)
