"""Comparing two methods run by run: same seed, same initial draw and data order, so pairs of scores.

Differences are first minus second, in the metric's own unit; intervals are Student's at 95 %.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from analysis.data.scores import direction, scores
from analysis.statistics.curves import PLATEAUS, WINDOW_DECADES, Array, at, below, mean_regret, plateau
from analysis.statistics.intervals import mean_interval
from study.storage.tuned import tuned_lr


@dataclass(frozen=True)
class Paired:
    """A mean difference over n pairs.

    low, high: its 95 % interval, infinite with one pair.
    p_different: two-sided paired t-test of no difference.
    p_equivalent: two one-sided t-tests (Schuirmann 1987) of a difference within the margin: small means
        that the methods are equivalent to within it.
    """

    pairs: int
    difference: float
    low: float
    high: float
    p_different: float
    p_equivalent: float


def compare(differences: Array, margin: float) -> Paired:
    """Tests the differences, (n,), of n pairs; p-values are nan with one pair."""
    mean, low, high = mean_interval(differences)
    count = len(differences)
    error = float(np.std(differences, ddof=1) / count**0.5) if count > 1 else np.nan
    if not error > 0:  # one pair, or no spread at all: nothing to test against
        return Paired(count, mean, low, high, np.nan, np.nan)
    student = stats.t(count - 1)
    different = 2 * student.sf(abs(mean) / error)
    equivalent = max(student.sf((mean + margin) / error), student.cdf((mean - margin) / error))
    return Paired(count, mean, low, high, float(different), float(equivalent))


def at_tuned_rates(first: pd.DataFrame, second: pd.DataFrame) -> Array:
    """Test scores' differences by seed, each method at its own tuned rate: (seeds,)."""
    a, b = (rows[rows["lr"] == tuned_lr(rows)].set_index("seed")["test"] for rows in (first, second))
    return (a - b).dropna().to_numpy()


def over_the_grid(first: pd.DataFrame, second: pd.DataFrame) -> Array:
    """Differences of the mean test score over the learning rates that both have, by seed: (seeds,)."""
    a, b = (rows.pivot(index="lr", columns="seed", values="test") for rows in (first, second))
    return (a - b).dropna(how="all").mean().dropna().to_numpy()


def by_seed(rows: pd.DataFrame) -> pd.DataFrame:
    """One label's figures of merit for each seed alone, so that they can be paired by seed.

    The tuned learning rate is that of all seeds together (`tuned_lr`); the curve is the seed's own.
    A figure is nan where the seed lacks a run that it needs: the tuned one, one of the window, any.

    Args:
        rows: the counted runs of one label.

    Returns:
        index: seed. `tuned_test` in the metric's unit; `regret_window`, the mean regret over +-1.5
        decades, in the metric's unit, positive where off-tune is worse; `plateau_10` in decades, with
        `censored` where it reaches an end of the grid; `divergence_rate` from 0 to 1.
    """
    columns = ["tuned_test", "regret_window", "plateau_10", "divergence_rate", "censored"]
    if rows.empty:
        return pd.DataFrame(columns=columns, dtype=float).rename_axis("seed")
    s, sign = scores(rows), direction(rows)
    curve, log_lr = sign * s.test.T, np.log10(s.lrs)  # (seeds, rates)
    best = np.full(len(s.seeds), np.flatnonzero(s.lrs == tuned_lr(rows))[0])
    score, complete = at(curve, best), np.isfinite(curve).all(1)
    width, low, high = plateau(curve, log_lr, best, below(score, PLATEAUS["plateau_10"]))
    diverged = (rows["status"] == "diverged").groupby(rows["seed"]).mean().reindex(s.seeds)
    figures = (
        sign * score,
        mean_regret(curve, log_lr, best, -WINDOW_DECADES, WINDOW_DECADES),
        np.where(complete, width, np.nan),
        np.where(complete, diverged, np.nan),
        complete & (low | high),
    )
    return pd.DataFrame(dict(zip(columns, figures, strict=True)), index=pd.Index(s.seeds, name="seed"))


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Holm's step-down correction (Holm 1979, Scand. J. Statist. 6:65) of m p-values: (m,) -> (m,).

    The i-th smallest is multiplied by m - i + 1 and made no smaller than those before it. A nan, a row
    that could not be tested, stays nan and still counts in m.
    """
    order = np.argsort(np.nan_to_num(p, nan=1.0), kind="stable")
    raised = np.nan_to_num(p, nan=1.0)[order] * np.arange(len(p), 0, -1)
    corrected = np.empty(len(p))
    corrected[order] = np.minimum(np.maximum.accumulate(raised), 1.0) if len(p) else raised
    return np.where(np.isnan(p), np.nan, corrected)


def paired_tests(runs: pd.DataFrame, first: str, second: str, margin: float) -> pd.DataFrame:
    """Tests of two methods of one study: a row at their tuned rates, one over the grid, one for each rate."""
    a, b = (runs[runs["counted"] & (runs["method"] == name)] for name in (first, second))
    differences = {"tuned rates": at_tuned_rates(a, b), "whole grid": over_the_grid(a, b)}
    for lr in sorted(set(a["lr"]) & set(b["lr"])):
        first_scores, second_scores = (rows[rows["lr"] == lr].set_index("seed")["test"] for rows in (a, b))
        differences[f"lr {lr:.3g}"] = (first_scores - second_scores).dropna().to_numpy()
    rows = [{"where": where, **vars(compare(values, margin))} for where, values in differences.items()]
    return pd.DataFrame(rows).assign(margin=margin, first=first, second=second)
