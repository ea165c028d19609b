"""Figures of merit of a curve of scores over learning rates: what is lost off the tuned one, how wide it is.

Array contract, for every function that takes one:
    curve: (..., L) mean scores over seeds at L ascending learning rates, *higher is better* (negate a
        metric that is not); leading axes are bootstrap resamples, or seeds.
    log_lr: (L,) log10 of the learning rates.
    best: (...) index into L of the tuned learning rate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

WINDOW_DECADES = 1.5
"""The sensitivity is averaged over the rates as far as this from the tuned one."""

PLATEAUS = {"plateau_2": 0.02, "plateau_10": 0.10}
"""Shares of the tuned score that may be lost on a plateau."""

GRID_TOLERANCE = 1e-3
"""Decades: half-decade grids are written with rounded numbers."""


def at(curve: Array, best: NDArray[np.intp]) -> Array:
    """The curve at one index per leading entry: (..., L), (...) -> (...)."""
    return np.take_along_axis(curve, best[..., None], -1)[..., 0]


def mean_regret(
    curve: Array,
    log_lr: Array,
    best: NDArray[np.intp],
    low: float = -np.inf,
    high: float = np.inf,
    among: NDArray[np.bool_] | None = None,
) -> Array:
    """Mean of tuned minus own score over the rates from `low` to `high` decades off the tuned one.

    The tuned rate itself counts when 0 is within. nan where no rate of the grid is.

    Args:
        among: (L,) the rates that may count; all of them if None.
    """
    offset = log_lr - log_lr[best][..., None]
    inside = (offset >= low - GRID_TOLERANCE) & (offset <= high + GRID_TOLERANCE)
    if among is not None:
        inside &= among
    regret = np.where(inside, at(curve, best)[..., None] - curve, 0.0)
    with np.errstate(invalid="ignore"):
        return regret.sum(-1) / inside.sum(-1)


def plateau(
    curve: Array, log_lr: Array, best: NDArray[np.intp], level: Array
) -> tuple[Array, NDArray[np.bool_], NDArray[np.bool_]]:
    """Width in decades of the contiguous stretch around the tuned rate with scores >= level.

    Args:
        level: (...).

    Returns:
        width (...), 0 where the tuned score itself is below the level; and whether the stretch reaches
        the low and the high end of the grid, where the width is only a lower bound.
    """
    count = curve.shape[-1]
    reached = at(curve, best) >= level
    width = np.zeros(best.shape)
    censored = []
    for direction in (-1, 1):
        inside = reached.copy()
        index = best.copy()  # of the last rate inside the plateau
        for _ in range(count - 1):
            onward = np.clip(index + direction, 0, count - 1)
            inside &= onward != index
            here, there = at(curve, index), at(curve, onward)
            step = np.abs(log_lr[onward] - log_lr[index])
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.where(there >= level, 1.0, (here - level) / (here - there))
            width += np.where(inside, np.nan_to_num(share) * step, 0.0)
            inside &= there >= level
            index = np.where(inside, onward, index)
        censored.append(reached & (index == (0 if direction < 0 else count - 1)))
    return width, censored[0], censored[1]


def below(score: Array, share: float) -> Array:
    """The level a share of |score| under the score, for scores of either sign."""
    return score - share * np.abs(score)
