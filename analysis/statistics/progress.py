"""How early a run gets where it is going: figures of its validation curve over training.

Progress is the share of the way from the untouched model's score to a goal, no less than 0 and no more than
1: a run that does worse than the untouched model has not begun, one that overshoots is there. Both figures
are shares of training, so that one margin serves both:

    area: the mean of the progress over training, that is the area under its curve (trapezoids between
        evaluations). A run that is there at once has 1, one that rises evenly .5, one that learns nothing 0.
    delay: when the progress first reaches a share of the way, by linear interpolation between evaluations;
        1, all of training, where it never does.

Array contract: curves (n, T) of progress at T ascending evaluation points, the first of them 0; steps (T,).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.statistics.curves import Array

SHARE = 0.9
"""Of the way, which counts as there."""


def progress(history: pd.DataFrame, start: float, goal: float, steps: Array) -> pd.DataFrame:
    """One row per seed and a column per step; where a run has no finite score, as after diverging, 0.

    Args:
        history: the evaluation points of runs of one method at one rate: seed, step, valid; more is better.
        start, goal: the scores at which the progress is 0 and 1, start below goal.
    """
    valid = history.pivot(index="seed", columns="step", values="valid").reindex(columns=steps)
    share = ((valid - start) / (goal - start)).replace([np.inf, -np.inf], np.nan)
    return share.astype(float).clip(0, 1).fillna(0.0)


def area(curves: Array, steps: Array) -> Array:
    """The mean progress over training, (n,)."""
    return np.trapezoid(curves, steps, axis=1) / (steps[-1] - steps[0])


def delay(curves: Array, steps: Array, share: float = SHARE) -> Array:
    """The share of training after which the progress is first `share`, (n,); 1 where it never is."""
    there = curves >= share
    after = there.argmax(1)  # the first point that is there
    before = np.maximum(after - 1, 0)
    rows = np.arange(len(curves))
    low, high = curves[rows, before], curves[rows, after]
    with np.errstate(invalid="ignore", divide="ignore"):
        part = np.where(high > low, (share - low) / (high - low), 0.0)  # of the way from before to after
    reached = steps[before] + part * (steps[after] - steps[before])
    return np.where(there.any(1), (reached - steps[0]) / (steps[-1] - steps[0]), 1.0)
