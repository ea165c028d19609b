"""Resampled curves of scores over learning rates, and intervals of what is computed from them.

Seeds are resampled with replacement within method and learning rate (one draw picks validation and test
together), the whole functional is recomputed, arg max included, and the 2.5 and 97.5 percentiles are
taken (Efron and Tibshirani 1993, ch. 13).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.data.scores import Scores
from analysis.statistics.curves import Array
from study.storage.tuned import tunable, tuned_index

RESAMPLES = 2000


@dataclass(frozen=True)
class Resampled:
    """One label's curves, of the data (row 0) and of B resamples of its seeds; higher is better.

    lrs: (L,) learning rates, ascending.
    valid: (1 + B, L) mean validation scores over seeds.
    test: (1 + B, L) mean test scores over seeds.
    spread: (1 + B, L) standard deviation of the test score over seeds; nan with one seed.
    best: (1 + B,) index of the tuned learning rate.
    """

    lrs: Array
    valid: Array
    test: Array
    spread: Array
    best: NDArray[np.intp]


def resample(s: Scores, rng: np.random.Generator, sign: float) -> Resampled:
    """Draws RESAMPLES times.

    Args:
        sign: 1 where more of the metric is better, else -1.
    """
    valid, test, spread = (np.empty((1 + RESAMPLES, len(s.lrs))) for _ in range(3))
    may_be_tuned = tunable(s.all_diverged)
    for i in range(len(s.lrs)):
        scored = np.flatnonzero(np.isfinite(s.valid[i]))  # seeds
        draws = scored[rng.integers(len(scored), size=(RESAMPLES, len(scored)))]
        draws = np.vstack([scored, draws])  # (1 + B, seeds)
        valid[:, i] = sign * s.valid[i][draws].mean(1)
        test[:, i] = sign * s.test[i][draws].mean(1)
        spread[:, i] = s.test[i][draws].std(1, ddof=1) if len(scored) > 1 else np.nan
    best = tuned_index(np.where(may_be_tuned, valid, -np.inf))
    return Resampled(s.lrs, valid, test, spread, best)


def percentile_interval(values: Array) -> tuple[float, float, float]:
    """The data's own figure, values[0], and its 95 % interval, percentiles of the resamples values[1:].

    Resamples that are not finite are left out; the interval is nan if none remains.
    """
    finite = values[1:][np.isfinite(values[1:])]
    low, high = np.percentile(finite, [2.5, 97.5]) if len(finite) else (np.nan, np.nan)
    return float(values[0]), float(low), float(high)
