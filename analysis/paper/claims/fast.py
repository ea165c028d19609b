"""C3: ETHER+ converges early at high learning rates."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.data.table import Study
from analysis.paper.claims.part import Part, above, describe_records
from analysis.statistics.bootstrap import RESAMPLES, percentile_interval
from analysis.statistics.curves import Array, below

EARLY_STEPS, EARLY_SHARE = 1 / 3, 0.9  # early: 90 % of its own best score after a third of training


def judge_fast(study: Study) -> list[Part]:
    """C3, from `lr_grid`: over how many decades is a method nearly done after a third of training?"""
    runs = study.runs[study.runs["counted"]]
    history = study.history.merge(runs[["run_id", "method", "lr", "seed", "steps"]], on="run_id")
    steps = np.sort(history["step"].unique())
    early = steps[np.abs(steps - EARLY_STEPS * history["steps"].iloc[0]).argmin()]
    rng, chance = np.random.default_rng(0), float(runs["chance"].iloc[0])
    decades = {
        method: _early_decades(history[history["method"] == method], (early, steps[-1]), chance, rng)
        for method in ("ether_plus", "oft", "naive")
    }
    parts = []
    for other, name in (("oft", "OFT"), ("naive", "Naive")):
        figure = percentile_interval(decades["ether_plus"] - decades[other])
        test = (
            f"decades of learning rate at which {EARLY_SHARE:.0%} of its own best validation score is "
            f"reached by step {early}: ETHER+'s minus {name}'s, above 0"
        )
        verdict, records = above(*figure[1:], 0), describe_records(study, runs)
        rests_on = ("ether_plus", other)
        parts.append(Part("C3", f"ETHER+ against {name}", test, *figure, verdict, records, rests_on=rests_on))
    return parts


def _early_decades(
    history: pd.DataFrame, steps: tuple[int, int], chance: float, rng: np.random.Generator
) -> Array:
    """Decades of learning rate at which one method is nearly done by an early step: (1 + B,), resampled.

    Args:
        history: the method's, with the columns lr and seed of its runs.
        steps: the early step and the last one.
        chance: the score where there is none.
    """
    curves = []
    for step in steps:
        table = history[history["step"] == step].pivot(index="lr", columns="seed", values="valid")
        curves.append(table.sort_index().fillna(chance).to_numpy())
    seeds = curves[0].shape[1]
    draws = np.vstack([np.arange(seeds), rng.integers(seeds, size=(RESAMPLES, seeds))])
    first, last = (curve[:, draws].mean(2).T for curve in curves)  # (1 + B, rates)
    log_lr = np.log10(np.sort(history["lr"].unique()))
    spacing = (log_lr[-1] - log_lr[0]) / max(1, len(log_lr) - 1)
    level = below(last.max(1, keepdims=True), 1 - EARLY_SHARE)
    return spacing * (first >= level).sum(1)
