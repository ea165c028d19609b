"""C3: ETHER+ converges early at high learning rates.

Hypothesis, read off the paper's Figure 6: at ten times its tuned rate ETHER+ gets where it is going earlier
than OFT and Naive do at ten times theirs; at the tuned rates, where the paper shows all three converging
early, it is no later.

Statistics: progress is the share of the way from the untouched model's validation score to the method's own
goal, its mean final validation score over seeds at its tuned rate. The goal is the same at ten times that
rate, so a method that collapses there, quickly or not, has got nowhere. Of a run's progress two figures are
taken (`analysis.statistics.progress`), both as shares of training: the *area* under it, and the *delay*
until it is 90 % of the way.

Decision: ETHER+'s figure minus the other's, paired by seed, with Student's 95 % interval. At ten times the
rate the area must be larger (above 0) and the delay shorter (below 0); at the tuned rates neither may be
worse by LATER or more. A part is undecided, and says why, if the grid has no rate ten times the tuned one,
if runs were not evaluated between start and end, if no two seeds can be paired, if a tuned method does not
surpass the untouched model, and, as every claim's, with too few seeds or a method that does not learn.

This replaces a test that asked at how many rates 90 % of the best score was reached after a third of
training: nobody had, in any of our studies, so it decided nothing. This one was stated before it was run on
any records.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data.table import Study
from analysis.figures.style import NAMES
from analysis.paper.claims.part import NO_VERDICT, UNDECIDED, Part, above, describe_records
from analysis.statistics.curves import GRID_TOLERANCE
from analysis.statistics.intervals import mean_interval
from analysis.statistics.progress import SHARE, area, delay, progress
from study.storage.tuned import tuned_lr

LATER = 0.05
"""As a share of training: what is later by less is no later."""

HIGH = 10.0
"""Times the tuned rate."""

FIGURES = {
    "area": "mean progress towards its own tuned final validation score",
    "delay": f"share of training until {SHARE:.0%} of the way to its own tuned final validation score",
}


@dataclass(frozen=True)
class Speed:
    """One method's figures at one multiple of its tuned rate.

    by_seed: area and delay, a row per seed. why_not: why there are none; empty if there are.
    """

    by_seed: pd.DataFrame
    why_not: str = ""


def judge_fast(study: Study) -> list[Part]:
    """C3, from `lr_grid`; see the module."""
    runs = study.runs[study.runs["counted"]]
    records = describe_records(study, runs)
    parts = []
    for times, where in ((HIGH, f"at {HIGH:g} times the tuned rate"), (1.0, "at the tuned rate")):
        speeds = {method: _speed(study, method, times) for method in ("ether_plus", "oft", "naive")}
        for other in ("oft", "naive"):
            for figure, meaning in FIGURES.items():
                least = 0.0 if times > 1 else -LATER
                bound = f"above {least:g}" if figure == "area" else f"below {-least:g}"
                test = f"{meaning}, {where}: ETHER+'s minus {NAMES[other]}'s, paired by seed, {bound}"
                effect, why_not = _difference(speeds["ether_plus"], speeds[other], figure)
                low, high = effect[1:] if figure == "area" else (-effect[2], -effect[1])
                verdict = above(low, high, least)
                if verdict == UNDECIDED and effect == (0.0, 0.0, 0.0):
                    why_not = "both have the same in every pair of runs"
                test += f" {NO_VERDICT}{why_not})" if why_not else ""
                name = f"ETHER+ against {NAMES[other]}, {figure} {where}"
                rests_on = ("ether_plus", other)
                parts.append(Part("C3", name, test, *effect, verdict, records, rests_on=rests_on))
    return parts


def _difference(ours: Speed, others: Speed, figure: str) -> tuple[tuple[float, float, float], str]:
    """Mean difference with its interval, and why it decides nothing; empty if it may."""
    reasons = dict.fromkeys(speed.why_not for speed in (ours, others) if speed.why_not)
    if reasons:
        return (np.nan, np.nan, np.nan), "; ".join(reasons)
    pairs = (ours.by_seed[figure] - others.by_seed[figure]).dropna()
    if len(pairs) < 2:
        return (np.nan, np.nan, np.nan), f"{len(pairs)} seeds in common, and an interval needs 2"
    return mean_interval(pairs.to_numpy()), ""


def _speed(study: Study, method: str, times: float) -> Speed:
    """The figures of one method at so many times its tuned rate."""
    rows = study.runs[study.runs["counted"] & (study.runs["method"] == method)]
    nothing, name = pd.DataFrame(columns=list(FIGURES), dtype=float), NAMES[method]
    if rows.empty:
        return Speed(nothing, f"no runs of {name}")
    tuned = tuned_lr(rows)
    at_rate = rows[np.abs(np.log10(rows["lr"].astype(float) / (times * tuned))) < GRID_TOLERANCE]
    if at_rate.empty:
        return Speed(nothing, f"{name} is tuned at {tuned:.3g}, and no run has {times:g} times that rate")
    points = study.history.merge(rows[["run_id", "lr", "seed"]], on="run_id")
    steps = np.sort(points["step"].unique()).astype(float)
    if len(steps) < 3:
        return Speed(nothing, "runs are not evaluated between start and end")
    start, goal = float(rows["base_valid"].mean()), float(rows.loc[rows["lr"] == tuned, "valid"].mean())
    if not goal > start:
        return Speed(
            nothing, f"{name} tuned, {goal:.3g} on validation, is not above the untouched {start:.3g}"
        )
    curves = progress(points[points["run_id"].isin(at_rate["run_id"])], start, goal, steps)
    figures = {"area": area(curves.to_numpy(), steps), "delay": delay(curves.to_numpy(), steps)}
    return Speed(pd.DataFrame(figures, index=curves.index))
