"""Whether a method learns at all: one that does not takes no part in superlatives and verdicts.

A method that stays at chance loses nothing at any learning rate, so its sensitivity is the least and its
plateau the widest; this says nothing of its robustness. The rule: a method *learns* if not every run of it
diverged, and its tuned test score beats both chance and the untouched base model. With three seeds or more
the whole 95 % Student interval has to; with fewer, where an interval says next to nothing, the mean.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.data.scores import direction
from analysis.statistics.intervals import mean_interval
from study.storage.tuned import tuned_lr

MIN_SEEDS = 3
"""With fewer seeds nothing is concluded: there is no verdict and no superlative."""

ROUNDING = 1e-9
"""A score that exceeds chance by no more does so by rounding alone."""


def why_not_learning(rows: pd.DataFrame) -> str:
    """`does not learn (every run diverged)`: of one label, and why; empty if it learns.

    Args:
        rows: the label's runs that counted, at least one.
    """
    if (rows["status"] == "diverged").all():
        return "does not learn (every run diverged)"
    tuned = rows[rows["lr"] == tuned_lr(rows)]
    sign = direction(rows)
    bars = {"chance": rows["chance"].mean(), "the untouched model": rows["base_test"].mean()}
    known = {name: float(value) for name, value in bars.items() if np.isfinite(value)}
    if not known:
        return ""
    name, bar = max(known.items(), key=lambda item: sign * item[1])
    mean, low, high = mean_interval(tuned["test"].to_numpy(dtype=float))
    bar_cleared = sign * bar + ROUNDING * max(1.0, abs(bar))
    if sign * mean <= bar_cleared:
        return f"does not learn (its tuned score of {mean:.3g} is no better than {name}, {bar:.3g})"
    if len(tuned) >= MIN_SEEDS and not min(sign * low, sign * high) > bar_cleared:
        score = f"{mean:.3g} [{low:.3g}, {high:.3g}]"
        return f"is not shown to learn (its tuned score, {score}, does not clear {name}, {bar:.3g})"
    return ""
