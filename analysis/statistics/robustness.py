"""How much a method's result depends on its learning rate: figures of merit with 95 % intervals.

Array contract, for every function that takes one:
    curve: (..., L) mean scores over seeds at L ascending learning rates, *higher is better* (negate a
        metric that is not); leading axes are bootstrap resamples.
    log_lr: (L,) log10 of the learning rates.
    best: (...) index into L of the tuned learning rate.

The tuned learning rate is the one with the best mean *validation* score; everything else is measured
on *test* at and around it, so no figure profits from picking a lucky maximum of what it reports.

Intervals: seeds are resampled with replacement within method and learning rate (one draw picks
validation and test together), the whole functional is recomputed, arg max included, and the 2.5 and
97.5 percentiles are taken (Efron and Tibshirani 1993, ch. 13). With five seeds such intervals
are too narrow: in simulations (tests/analysis/test_robustness.py) a nominal 95 % interval of the tuned
score covers about 82 %. A regret can be slightly negative, for the tuned rate is not picked on test.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest

from analysis.data.table import Scores, scores

Array = NDArray[np.float64]

RESAMPLES = 2000
WINDOW_DECADES = 1.5
TARGET_SHARE = 0.95
PLATEAUS = {"plateau_2": 0.02, "plateau_10": 0.10}

DEFINITIONS: dict[str, str] = {
    "tuned_test": "Mean test score over seeds at the learning rate with the best mean validation score.",
    "best_lr": "That learning rate.",
    "regret_window": "Learning-rate sensitivity: how much lower the mean test score is, on average over "
    "the learning rates within 1.5 decades of the tuned one, than at the tuned one (mean regret; "
    "compare the sensitivity of Wortsman et al. 2023, arXiv 2309.14322). Smaller is more robust. Where the "
    "grid ends inside the window, less is averaged than the window asks for, and † says so.",
    "regret_low_side": "The same over the learning rates of that window below the tuned one.",
    "regret_high_side": "The same over the learning rates of that window above the tuned one.",
    "regret_grid": "The same over the learning rates that all methods share.",
    "plateau_2": "Width in decades of the stretch of learning rates around the tuned one where the mean "
    "test score stays within 2 % of the tuned score, edges interpolated linearly in log10(lr). A width "
    "that reaches an end of the grid is a lower bound and marked so.",
    "plateau_10": "The same within 10 %.",
    "plateau_target": "The same above one target for all methods: 95 % of the best method's tuned score. "
    "0 if the method does not reach it.",
    "divergence_rate": "Share of runs that diverged (loss or gradient not finite, or validation loss at the "
    "end more than 5 % above the one at step 0), with the Wilson score interval (Wilson 1927).",
    "seed_spread": "Standard deviation of the test score over seeds at the tuned learning rate.",
    "parameters": "Trained numbers as the paper counts them (half of OFT's, by skew-symmetry).",
    "step_seconds": "Seconds of training per step and run, packed as it was; the interval is the range "
    "over packs.",
}


def tuned_index(valid_curve: Array) -> NDArray[np.intp]:
    """Index of the best learning rate: (..., L) -> (...). Ties go to the smaller rate."""
    return np.nanargmax(valid_curve, axis=-1)


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
    slack = 1e-3  # half-decade grids are written with rounded numbers
    inside = (offset >= low - slack) & (offset <= high + slack)
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
        place = best.copy()
        for _ in range(count - 1):
            onward = np.clip(place + direction, 0, count - 1)
            inside &= onward != place
            here, there = at(curve, place), at(curve, onward)
            step = np.abs(log_lr[onward] - log_lr[place])
            with np.errstate(invalid="ignore", divide="ignore"):
                share = np.where(there >= level, 1.0, (here - level) / (here - there))
            width += np.where(inside, np.nan_to_num(share) * step, 0.0)
            inside &= there >= level
            place = np.where(inside, onward, place)
        censored.append(reached & (place == (0 if direction < 0 else count - 1)))
    return width, censored[0], censored[1]


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95 % Wilson score interval of a share; (nan, nan) without trials."""
    if not trials:
        return np.nan, np.nan
    interval = binomtest(successes, trials).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def resampled(s: Scores, rng: np.random.Generator, sign: float) -> tuple[Array, Array, Array]:
    """Bootstrapped valid and test curves, (1 + B, L) each, and test's spread; row 0 is the data."""
    curves = [np.empty((1 + RESAMPLES, len(s.lrs))) for _ in range(3)]
    for i in range(len(s.lrs)):
        there = np.flatnonzero(np.isfinite(s.valid[i]))
        draws = there[rng.integers(len(there), size=(RESAMPLES, len(there)))]
        draws = np.vstack([there, draws])  # (1 + B, seeds)
        curves[0][:, i] = -np.inf if s.hopeless[i] else sign * s.valid[i][draws].mean(1)
        curves[1][:, i] = sign * s.test[i][draws].mean(1)
        curves[2][:, i] = s.test[i][draws].std(1, ddof=1) if len(there) > 1 else np.nan
    return curves[0], curves[1], curves[2]


def robustness_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per label, in canonical order: each of DEFINITIONS with `_low` and `_high`.

    Beside them `method`, `label`, counts of runs, and two kinds of flag, each none, low, high or both:
    per plateau `*_censored`, the ends of the grid it reaches; and `regret_window_truncated`, the ends
    of the grid that cut the window off. With one seed at some rate there is no interval (nan).

    Args:
        runs: the `runs` table of a `Study` (with `label`, `place`, `counted`).
    """
    sign = 1.0 if bool(runs["higher_is_better"].iloc[0]) else -1.0
    rng = np.random.default_rng(0)
    counted = runs[runs["counted"]].sort_values("place")
    groups = {str(label): rows for label, rows in counted.groupby("label", sort=False)}
    arrays = {label: scores(rows) for label, rows in groups.items()}
    curves = {label: resampled(s, rng, sign) for label, s in arrays.items()}
    tuned = {label: tuned_index(valid) for label, (valid, _, _) in curves.items()}
    finals = np.stack([at(curves[label][1], tuned[label]) for label in groups])
    shared = set.intersection(*(set(s.lrs.tolist()) for s in arrays.values()))
    target = _below(finals.max(0), 1 - TARGET_SHARE)
    rows = []
    for label, own in groups.items():
        _, test, spread = curves[label]
        log_lr, best = np.log10(arrays[label].lrs), tuned[label]
        final = at(test, best)
        figures: dict[str, Array] = {
            "tuned_test": sign * final,
            "best_lr": arrays[label].lrs[best],
            "regret_window": mean_regret(test, log_lr, best, -WINDOW_DECADES, WINDOW_DECADES),
            "regret_low_side": mean_regret(test, log_lr, best, -WINDOW_DECADES, -0.01),
            "regret_high_side": mean_regret(test, log_lr, best, 0.01, WINDOW_DECADES),
            "regret_grid": mean_regret(test, log_lr, best, among=np.isin(arrays[label].lrs, sorted(shared))),
        }
        levels = {name: _below(final, share) for name, share in PLATEAUS.items()}
        lowest, highest = log_lr[best[0]] - log_lr[0], log_lr[-1] - log_lr[best[0]]
        slack = WINDOW_DECADES - 1e-3
        ends = {"regret_window_truncated": _ends(lowest < slack, highest < slack)}
        for name, level in (levels | {"plateau_target": target}).items():
            figures[name], low, high = plateau(test, log_lr, best, level)
            ends[f"{name}_censored"] = _ends(low[0], high[0])
        figures["seed_spread"] = at(spread, best)
        row: dict[str, object] = {"method": own["method"].iloc[0], "label": label, "runs": len(own)}
        row["failed"] = int(((runs["label"] == label) & ~runs["counted"]).sum())
        repeated = bool((np.isfinite(arrays[label].valid).sum(1) > 1).all())
        for name, values in figures.items():
            row |= _with_interval(name, values, repeated)
        diverged = int((own["status"] == "diverged").sum())
        low_rate, high_rate = wilson(diverged, len(own))
        row |= {"diverged": diverged, "divergence_rate": diverged / len(own)}
        row |= {"divergence_rate_low": low_rate, "divergence_rate_high": high_rate}
        for name in ("parameters", "step_seconds"):
            values = own[name].astype(float)
            row |= {name: values.mean(), f"{name}_low": values.min(), f"{name}_high": values.max()}
        rows.append(row | ends)
    return pd.DataFrame(rows)


def _below(score: Array, share: float) -> Array:
    """The level a share of |score| under the score, for scores of either sign."""
    return score - share * np.abs(score)


def _ends(low: bool, high: bool) -> str:
    return {(0, 0): "none", (1, 0): "low", (0, 1): "high", (1, 1): "both"}[int(low), int(high)]


def _with_interval(name: str, values: Array, repeated: bool) -> dict[str, float]:
    """The data's own figure, values[0], with the percentiles of the resamples, values[1:].

    nan for the percentiles unless every rate was `repeated`: one seed says nothing of the spread.
    """
    rest = values[1:][np.isfinite(values[1:]) & repeated]
    low, high = np.percentile(rest, [2.5, 97.5]) if len(rest) else (np.nan, np.nan)
    return {name: float(values[0]), f"{name}_low": float(low), f"{name}_high": float(high)}
