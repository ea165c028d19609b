"""The tuned learning rate: the one with the best mean validation score over seeds.

A rate at which every run diverged is never it, whatever chance scores, unless every run of the label
diverged. Of equal rates the smaller one is it.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.data.scores import Scores, direction, scores


def tunable(s: Scores) -> NDArray[np.bool_]:
    """(L,) which rates may be the tuned one."""
    return ~s.all_diverged if not s.all_diverged.all() else np.ones_like(s.all_diverged)


def tuned_index(valid_curve: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the best learning rate: (..., L) -> (...), where higher is better.

    Args:
        valid_curve: mean validation scores, -inf at rates that are not `tunable`.
    """
    return np.nanargmax(valid_curve, axis=-1)


def tuned_lr(rows: pd.DataFrame) -> float:
    """The tuned learning rate of one label's runs; failed runs do not count."""
    s = scores(rows)
    means = np.array([of_rate[np.isfinite(of_rate)].mean() for of_rate in s.valid])
    return float(s.lrs[tuned_index(np.where(tunable(s), direction(rows) * means, -np.inf))])
