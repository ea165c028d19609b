"""How much a method's result depends on its learning rate: figures of merit with 95 % intervals.

The tuned learning rate is the one with the best mean *validation* score (`analysis.statistics.tuned`);
everything else is measured on *test* at and around it, so no figure profits from picking a lucky maximum
of what it reports.

Intervals are bootstrapped over seeds (`analysis.statistics.bootstrap`). With five seeds such intervals
are too narrow: in simulations (tests/analysis/test_robustness.py) a nominal 95 % interval of the tuned
score covers about 82 %. A regret can be slightly negative, for the tuned rate is not picked on test.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.data.scores import direction, scores
from analysis.statistics.bootstrap import Resampled, percentile_interval, resample
from analysis.statistics.curves import (
    GRID_TOLERANCE,
    PLATEAUS,
    WINDOW_DECADES,
    Array,
    at,
    below,
    mean_regret,
    plateau,
)
from analysis.statistics.intervals import wilson

TARGET_SHARE = 0.95

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


def robustness_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per label, in canonical order: each of DEFINITIONS with `_low` and `_high`.

    Beside them `method`, `label`, counts of runs, and two kinds of flag, each none, low, high or both:
    per plateau `*_censored`, the ends of the grid it reaches; and `regret_window_truncated`, the ends
    of the grid that cut the window off. With one seed at some rate there is no interval (nan).

    Args:
        runs: the `runs` table of a `Study` (with `label`, `rank`, `counted`).
    """
    sign, rng = direction(runs), np.random.default_rng(0)
    counted = runs[runs["counted"]].sort_values("rank")
    groups = {str(label): rows for label, rows in counted.groupby("label", sort=False)}
    arrays = {label: scores(rows) for label, rows in groups.items()}
    curves = {label: resample(s, rng, sign) for label, s in arrays.items()}
    shared = set.intersection(*(set(s.lrs.tolist()) for s in arrays.values()))
    best_final = np.stack([at(curve.test, curve.best) for curve in curves.values()]).max(0)
    target = below(best_final, 1 - TARGET_SHARE)
    rows = []
    for label, label_rows in groups.items():
        figures, flags = _figures_of_merit(curves[label], sorted(shared), target, sign)
        row: dict[str, object] = {"method": label_rows["method"].iloc[0], "label": label}
        row |= {"runs": len(label_rows), "failed": int(((runs["label"] == label) & ~runs["counted"]).sum())}
        seeds_at_each_rate = np.isfinite(arrays[label].valid).sum(1)
        for name, values in figures.items():
            figure, low, high = percentile_interval(values)
            if seeds_at_each_rate.min() < 2:  # one seed says nothing of the spread
                low = high = np.nan
            row |= {name: figure, f"{name}_low": low, f"{name}_high": high}
        rows.append(row | _counts(label_rows) | flags)
    return pd.DataFrame(rows)


def _figures_of_merit(
    curve: Resampled, shared_lrs: list[float], target: Array, sign: float
) -> tuple[dict[str, Array], dict[str, str]]:
    """The figures, (1 + B,) each, and the flags of one label's row; see `robustness_table`."""
    test, best, log_lr = curve.test, curve.best, np.log10(curve.lrs)
    final = at(test, best)
    figures: dict[str, Array] = {
        "tuned_test": sign * final,
        "best_lr": curve.lrs[best],
        "regret_window": mean_regret(test, log_lr, best, -WINDOW_DECADES, WINDOW_DECADES),
        "regret_low_side": mean_regret(test, log_lr, best, -WINDOW_DECADES, -0.01),
        "regret_high_side": mean_regret(test, log_lr, best, 0.01, WINDOW_DECADES),
        "regret_grid": mean_regret(test, log_lr, best, among=np.isin(curve.lrs, shared_lrs)),
    }
    below_best, above_best = log_lr[best[0]] - log_lr[0], log_lr[-1] - log_lr[best[0]]
    window = WINDOW_DECADES - GRID_TOLERANCE
    flags = {"regret_window_truncated": _ends(below_best < window, above_best < window)}
    levels = {name: below(final, share) for name, share in PLATEAUS.items()}
    for name, level in (levels | {"plateau_target": target}).items():
        figures[name], low, high = plateau(test, log_lr, best, level)
        flags[f"{name}_censored"] = _ends(low[0], high[0])
    figures["seed_spread"] = at(curve.spread, best)
    return figures, flags


def _counts(label_rows: pd.DataFrame) -> dict[str, float]:
    """Figures of one label's row that are not resampled: divergence, parameters, seconds."""
    diverged = int((label_rows["status"] == "diverged").sum())
    low, high = wilson(diverged, len(label_rows))
    row: dict[str, float] = {"diverged": diverged, "divergence_rate": diverged / len(label_rows)}
    row |= {"divergence_rate_low": low, "divergence_rate_high": high}
    for name in ("parameters", "step_seconds"):
        values = label_rows[name].astype(float)
        row |= {name: values.mean(), f"{name}_low": values.min(), f"{name}_high": values.max()}
    return row


def _ends(low: bool, high: bool) -> str:
    return {(0, 0): "none", (1, 0): "low", (0, 1): "high", (1, 1): "both"}[int(low), int(high)]
