"""95 % intervals: Student's for means over seeds, Wilson's for shares of runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats


def student_half_width(std: Any, count: Any, alpha: float = 0.05) -> Any:
    """Half the width of Student's interval of a mean, at level 1 - alpha; nan with fewer than two values.

    Args:
        std: sample standard deviation of the values, a number or an array of them.
        count: how many values, of the same shape.
    """
    with np.errstate(invalid="ignore"):
        return stats.t.ppf(1 - alpha / 2, count - 1) * std / np.sqrt(count)


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float, float]:
    """Mean and 95 % Student interval of (n,) values; the interval is infinite with one value, nan without."""
    if not len(values):
        return np.nan, np.nan, np.nan
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, -np.inf, np.inf
    half = float(student_half_width(np.std(values, ddof=1), len(values)))
    return mean, mean - half, mean + half


def seed_means(rows: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean over seeds with its 95 % Student interval: columns `by`, mean, low, high, seeds.

    The interval is nan with one seed.
    """
    means = rows.groupby(by, sort=False)[value].agg(["mean", "std", "count"]).reset_index()
    half = student_half_width(means["std"], means["count"].to_numpy())
    means["low"], means["high"] = means["mean"] - half, means["mean"] + half
    return means.drop(columns="std").rename(columns={"count": "seeds"})


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share (Wilson 1927); (nan, nan) without trials."""
    if not trials:
        return np.nan, np.nan
    interval = stats.binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def seeds_text(fewest: int, most: int) -> str:
    """`one seed`, `5 seeds`, `3 to 5 seeds`"""
    if fewest != most:
        return f"{fewest} to {most} seeds"
    return "one seed" if most == 1 else f"{most} seeds"


def mean_title(seeds: pd.Series) -> str:
    """`mean and 95 % Student interval over 5 seeds`; with one seed there is neither.

    Args:
        seeds: how many stand behind each mean of a figure.
    """
    fewest, most = (int(seeds.min()), int(seeds.max())) if len(seeds) else (0, 0)
    if most < 2:
        return "one seed, so no interval"
    return f"mean and 95 % Student interval over {seeds_text(fewest, most)}"
