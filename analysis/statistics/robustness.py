"""How much a method's result depends on its learning rate: figures of merit with 95 % intervals.

The tuned learning rate is the one with the best mean *validation* score (`study.storage.tuned`);
everything else is measured on *test* at and around it, so no figure profits from picking a lucky maximum
of what it reports. A regret can be slightly negative, for the tuned rate is not picked on test.

Of means over seeds, the tuned score and every regret, the interval is Student's over the seeds' own figures
at the tuned rate of all; so it is in every table and figure that shows them. Of the others (plateaus, the
tuned rate, the spread) it is bootstrapped over seeds (`analysis.statistics.bootstrap`). How often either
covers the truth with so many seeds: `analysis.statistics.coverage`.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.data.scores import Scores, direction, scores
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
from analysis.statistics.intervals import student_half_width, wilson
from analysis.statistics.learning import why_not_learning

TARGET_SHARE = 0.95

STUDENT = ("tuned_test", "regret_window", "regret_low_side", "regret_high_side", "regret_grid")
"""Figures that are means over seeds, and so have Student's interval."""

SIDES = {
    "regret_window": (-WINDOW_DECADES, WINDOW_DECADES),
    "regret_low_side": (-WINDOW_DECADES, -0.01),
    "regret_high_side": (0.01, WINDOW_DECADES),
}
"""Decades off the tuned rate over which each regret is a mean."""

DEFINITIONS: dict[str, str] = {
    "tuned_test": "Mean test score over seeds at the learning rate with the best mean validation score.",
    "best_lr": "That learning rate.",
    "regret_window": "Learning-rate sensitivity: how much lower the mean test score is, on average over "
    "the learning rates within 1.5 decades of the tuned one, than at the tuned one (mean regret; "
    "compare the sensitivity of Wortsman et al. 2023, arXiv 2309.14322). Smaller is more robust. Where the "
    "grid ends inside the window, less is averaged than the window asks for, and † says so.",
    "regret_low_side": "The same over the learning rates of that window below the tuned one.",
    "regret_high_side": "The same over the learning rates of that window above the tuned one.",
    "regret_grid": "The same over the learning rates at which every method has a run that ended; where a "
    "rate is left out for that, ¶ says so.",
    "plateau_2": "Width in decades of the stretch of learning rates around the tuned one where the mean "
    "test score stays within 2 % of the tuned score, edges interpolated linearly in log10(lr). A width "
    "that reaches an end of the grid is a lower bound and marked so.",
    "plateau_10": "The same within 10 %.",
    "plateau_target": "The same above one target for all methods: 95 % of the best method's tuned score. "
    "0 if the method does not reach it.",
    "divergence_rate": "Share of runs that diverged (loss or gradient not finite, or validation loss at the "
    "end more than 5 % above the one at step 0 with a score no better than then), with the Wilson score "
    "interval (Wilson 1927).",
    "seed_spread": "Standard deviation of the test score over seeds at the tuned learning rate.",
    "parameters": "Trained numbers as the paper counts them (half of OFT's, by skew-symmetry).",
    "step_seconds": "Seconds of training per step and run, packed as it was; the interval is the range "
    "over packs.",
}


def robustness_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per label, in canonical order: each of DEFINITIONS with `_low` and `_high`.

    Beside them `method`, `label`, counts of runs, `seeds` (the fewest at any of its rates), and
        not_learning: why the label takes no part in verdicts, empty if it learns
            (`analysis.statistics.learning`);
        *_censored, per plateau, and regret_window_truncated: none, low, high or both, the ends of the grid
            that the plateau reaches, or that cut the window off;
        regret_grid_left_out: the label's rates that do not count in `regret_grid`, and because of which
            labels: `0.01 (every run of lora failed)`.
    With one seed at some rate there is no interval (nan).

    Args:
        runs: the `runs` table of a `Study` (with `label`, `rank`, `counted`).
    """
    sign, rng = direction(runs), np.random.default_rng(0)
    counted = runs[runs["counted"]].sort_values("rank")
    groups = {str(label): rows for label, rows in counted.groupby("label", sort=False)}
    arrays = {label: scores(rows) for label, rows in groups.items()}
    curves = {label: resample(s, rng, sign) for label, s in arrays.items()}
    shared = sorted(set.intersection(*(set(s.lrs.tolist()) for s in arrays.values())))
    reasons = {label: why_not_learning(rows) for label, rows in groups.items()}
    learning = [label for label in groups if not reasons[label]] or list(groups)
    best_final = np.stack([at(curves[label].test, curves[label].best) for label in learning]).max(0)
    target = below(best_final, 1 - TARGET_SHARE)
    rows = []
    for label, label_rows in groups.items():
        figures, flags = _figures_of_merit(curves[label], shared, target, sign)
        seeds = int(np.isfinite(arrays[label].valid).sum(1).min())
        row: dict[str, object] = {"method": label_rows["method"].iloc[0], "label": label}
        row |= {"runs": len(label_rows), "failed": int(((runs["label"] == label) & ~runs["counted"]).sum())}
        row |= {"seeds": seeds, "not_learning": reasons[label]}
        half_widths = _half_widths(arrays[label], curves[label].best[0], shared, sign)
        for name, values in figures.items():
            figure, low, high = percentile_interval(values)
            if name in STUDENT:
                low, high = figure - half_widths[name], figure + half_widths[name]
            if seeds < 2:  # one seed says nothing of the spread
                low = high = np.nan
            row |= {name: figure, f"{name}_low": low, f"{name}_high": high}
        rows.append(row | _counts(label_rows) | flags | _left_out(label, runs, shared))
    return pd.DataFrame(rows)


def _half_widths(s: Scores, best: np.intp, shared_lrs: list[float], sign: float) -> dict[str, float]:
    """Half of Student's interval of each figure of STUDENT, over the seeds that have all it needs."""
    curve, log_lr = sign * s.test.T, np.log10(s.lrs)  # (seeds, rates)
    tuned = np.full(len(s.seeds), best)
    by_seed = {name: mean_regret(curve, log_lr, tuned, *side) for name, side in SIDES.items()}
    by_seed["regret_grid"] = mean_regret(curve, log_lr, tuned, among=np.isin(s.lrs, shared_lrs))
    by_seed["tuned_test"] = at(curve, tuned)
    finite = {name: values[np.isfinite(values)] for name, values in by_seed.items()}
    return {
        name: float(student_half_width(np.std(values, ddof=1), len(values))) if len(values) > 1 else np.nan
        for name, values in finite.items()
    }


def _figures_of_merit(
    curve: Resampled, shared_lrs: list[float], target: Array, sign: float
) -> tuple[dict[str, Array], dict[str, str]]:
    """The figures, (1 + B,) each, and the flags of one label's row; see `robustness_table`."""
    test, best, log_lr = curve.test, curve.best, np.log10(curve.lrs)
    final = at(test, best)
    figures: dict[str, Array] = {"tuned_test": sign * final, "best_lr": curve.lrs[best]}
    figures |= {name: mean_regret(test, log_lr, best, *side) for name, side in SIDES.items()}
    figures["regret_grid"] = mean_regret(test, log_lr, best, among=np.isin(curve.lrs, shared_lrs))
    below_best, above_best = log_lr[best[0]] - log_lr[0], log_lr[-1] - log_lr[best[0]]
    window = WINDOW_DECADES - GRID_TOLERANCE
    flags = {"regret_window_truncated": _ends(below_best < window, above_best < window)}
    levels = {name: below(final, share) for name, share in PLATEAUS.items()}
    for name, level in (levels | {"plateau_target": target}).items():
        figures[name], low, high = plateau(test, log_lr, best, level)
        flags[f"{name}_censored"] = _ends(low[0], high[0])
    figures["seed_spread"] = at(curve.spread, best)
    return figures, flags


def _left_out(label: str, runs: pd.DataFrame, shared_lrs: list[float]) -> dict[str, str]:
    """The column regret_grid_left_out of one label's row; see `robustness_table`."""
    ended = runs[runs["counted"]]
    labels = dict.fromkeys(ended.sort_values("rank")["label"])
    notes = []
    for lr in sorted(set(ended.loc[ended["label"] == label, "lr"]) - set(shared_lrs)):
        at_rate, ended_at_rate = runs[runs["lr"] == lr], ended[ended["lr"] == lr]
        lacking = [other for other in labels if other not in set(ended_at_rate["label"])]
        failed = [other for other in lacking if other in set(at_rate["label"])]
        never = [other for other in lacking if other not in failed]
        reasons = [f"every run of {', '.join(failed)} failed"] * bool(failed)
        reasons += [f"not run for {', '.join(never)}"] * bool(never)
        notes.append(f"{lr:.3g} ({'; '.join(reasons)})")
    return {"regret_grid_left_out": ", ".join(notes)}


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
