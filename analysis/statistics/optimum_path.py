"""How far the best learning rate moves as another setting grows: its path, and decades per doubling.

**The best rate** for one value of the setting is chosen on mean validation scores, as everywhere, and then
refined: the vertex of the parabola through the tuned rate and its two neighbours, over log10(lr). It lies at
most half a step of the grid from the tuned rate. The tuned rate itself moves in whole steps only: over four
values and half-decade steps, simulated, the slopes of tuned rates are off by .05 to .09 decades per doubling
(root mean square), those of vertices by .006 to .04. Of rates with equal scores the middle is the best. A
best rate at an end of the grid is only a bound (censored); such values are left out of the slope.

**The slope** is that of the least-squares line of log10(best rate) over log2(value).

**The interval** is bootstrapped as all others (`analysis.statistics.bootstrap`), seeds within each value and
rate. It is of the seeds alone. Simulated with four values and five seeds it holds the truth in 95 to 98 % of
studies whose seeds differ by .01 (94 % with three seeds; 83 to 90 % if whole seeds were resampled). Where
seeds differ by less than the parabola is off, it holds it less often: 84 % in the tests' hills, 33 % at a
cliff three times as steep as the rise. That error is at most GRID_ERROR there; verdicts allow for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.data.scores import Scores
from analysis.statistics.bootstrap import percentile_interval, resample
from analysis.statistics.curves import Array, at
from analysis.statistics.learning import MIN_SEEDS
from study.storage.tuned import EQUAL

GRID_ERROR = 0.02
"""Decades per doubling that a grid of half decades may put on a slope, whatever the seeds."""

SAME_RATE = 0.05
"""Decades per doubling, 12 %: a best rate that moves by less does not move."""

MOVES_UP, MOVES_DOWN, STAYS, UNDECIDED = "moves up", "moves down", "stays", "undecided"


@dataclass(frozen=True)
class OptimumPath:
    """Where the best rate lies for each value of a setting.

    places: a row per value, ascending: value, tuned_lr (on the grid), best_lr with _low and _high (refined,
        95 %), and end: `low` or `high` where it is at that end of the grid, `both` where it cannot be told,
        else empty.
    slope, low, high: decades per doubling of the value with its 95 % interval; nan where there is none.
    seeds: the fewest at any value and rate.
    why_not: why there is no slope; empty if there is one.
    """

    places: pd.DataFrame
    slope: float
    low: float
    high: float
    seeds: int
    why_not: str = ""

    @property
    def left_out(self) -> list[float]:
        """Values whose best rate is at an end of the grid: they are no part of the slope."""
        return list(self.places.loc[self.places["end"] != "", "value"])

    @property
    def text(self) -> str:
        """`+0.30 [+0.25, +0.34]`: the slope and, where there is one, its interval."""
        slope, *ends = (f"{round(x, 2) + 0.0:+.2f}" for x in (self.slope, self.low, self.high))
        return f"{slope} [{', '.join(ends)}]" if np.isfinite(self.low) else slope

    @property
    def verdict(self) -> str:
        """Whether the best rate moves; undecided with fewer than three seeds, as all verdicts."""
        if self.why_not or self.seeds < MIN_SEEDS:
            return UNDECIDED
        if self.low > GRID_ERROR:
            return MOVES_UP
        if self.high < -GRID_ERROR:
            return MOVES_DOWN
        return STAYS if self.low >= -SAME_RATE and self.high <= SAME_RATE else UNDECIDED


def optimum_path(by_value: Mapping[float, Scores], sign: float) -> OptimumPath:
    """The path of the best rate over the values of one setting.

    Args:
        by_value: the scores at each value; values above zero enter the slope.
        sign: 1 where more of the metric is better, else -1.
    """
    rng = np.random.default_rng(0)
    rows, logs = [], {}
    for value in sorted(by_value):
        s = by_value[value]
        curve = resample(s, rng, sign)
        log_best, low_end, high_end = best_log_lr(curve.valid, np.log10(s.lrs), curve.best)
        best, low, high = 10 ** np.array(percentile_interval(log_best))
        end = {(0, 0): "", (1, 0): "low", (0, 1): "high", (1, 1): "both"}[int(low_end[0]), int(high_end[0])]
        place = {"value": value, "tuned_lr": s.lrs[curve.best[0]], "best_lr": best}
        rows.append(place | {"best_lr_low": low, "best_lr_high": high, "end": end})
        if not end and value > 0:
            logs[value] = log_best
    places, seeds = pd.DataFrame(rows), _fewest_seeds(by_value.values())
    if seeds < 2:
        places[["best_lr_low", "best_lr_high"]] = np.nan
    if len(logs) < 2:
        why_not = f"the best rate is inside the grid at {len(logs) or 'no'} value{'s'[: len(logs) != 1]}"
        return OptimumPath(places, np.nan, np.nan, np.nan, seeds, why_not)
    slope, low, high = percentile_interval(slope_of(np.log2(list(logs)), np.stack([*logs.values()], -1)))
    return OptimumPath(places, slope, *((low, high) if seeds > 1 else (np.nan, np.nan)), seeds)


def best_log_lr(
    curve: Array, log_lr: Array, best: NDArray[np.intp]
) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """log10 of the best rate; arrays as in `analysis.statistics.curves`.

    Returns:
        (...) the vertex, the middle of equal rates, or the end of the grid; and whether the best rate, or one
        that equals it, is at the low and at the high end.
    """
    count = len(log_lr)
    last = _last_equal(curve, best)
    left, right = np.maximum(best - 1, 0), np.minimum(best + 1, count - 1)
    middle, height = log_lr[best], at(curve, best)
    before, after = middle - log_lr[left], log_lr[right] - middle  # steps, unequal where the grid is
    fall_before, fall_after = height - at(curve, left), height - at(curve, right)
    with np.errstate(invalid="ignore", divide="ignore"):
        offset = (after**2 * fall_before - before**2 * fall_after) / (
            2 * (after * fall_before + before * fall_after)
        )
    offset = np.clip(np.nan_to_num(offset), -before / 2, after / 2)
    low_end, high_end = best == 0, last == count - 1
    vertex = np.where((best == 0) | (best == count - 1), middle, middle + offset)
    return np.where(last > best, (middle + log_lr[last]) / 2, vertex), low_end, high_end


def _last_equal(curve: Array, best: NDArray[np.intp]) -> NDArray[np.intp]:
    """The last of the rates in a row from the tuned one, the first of them, that score the same."""
    height = at(curve, best)
    last, going = best.copy(), np.ones(best.shape, dtype=bool)
    for _ in range(curve.shape[-1] - 1):
        onward = np.minimum(last + 1, curve.shape[-1] - 1)
        going &= (onward > last) & (at(curve, onward) >= height - EQUAL * np.abs(height))
        last = np.where(going, onward, last)
    return last


def slope_of(x: Array, y: Array) -> Array:
    """Least-squares slope: (K,), (..., K) -> (...)."""
    centred = x - x.mean()
    slope: Array = (y * centred).sum(-1) / (centred**2).sum()
    return slope


def _fewest_seeds(scores: object) -> int:
    return min(int(np.isfinite(s.valid).sum(1).min()) for s in scores)  # type: ignore[attr-defined]
