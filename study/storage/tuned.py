"""The tuned learning rate: the one rule by which reports, saved adapters and benchmarks call runs best.

It is the rate with the best mean validation score over all seeds of a *cell*: one method with its options
on one task with its settings. Best is all seeds at that rate, never the luckiest single run. A rate at which
every run diverged is never it, whatever chance scores, unless every run of the cell diverged. Of equal rates
the smaller one is it. Failed runs do not count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from study.storage.rows import FINISHED

if TYPE_CHECKING:
    import pandas as pd

EQUAL = 1e-9
"""Relative difference of means that rounding alone can make."""


def tunable(all_diverged: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(L,) which rates may be the tuned one, given at which of them every run diverged."""
    return ~all_diverged if not all_diverged.all() else np.ones_like(all_diverged)


def tuned_index(valid_curve: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the best learning rate: (..., L) -> (...), where higher is better.

    Args:
        valid_curve: mean validation scores, -inf at rates that are not `tunable`.
    """
    best = np.nanmax(valid_curve, axis=-1, keepdims=True)
    index: NDArray[np.intp] = np.argmax(valid_curve >= best - EQUAL * np.abs(best), axis=-1)
    return index


def tuned_lr(rows: pd.DataFrame) -> float:
    """The tuned learning rate of one cell's runs.

    Args:
        rows: of the table `runs`, with a validation score in at least one that did not fail.
    """
    counted = rows[rows["status"].isin(FINISHED) & np.isfinite(rows["valid"].astype(float))]
    sign = 1.0 if bool(counted["higher_is_better"].iloc[0]) else -1.0
    rates, seeds = counted["lr"].to_numpy(dtype=float), counted["seed"].to_numpy()
    by_rate = np.lexsort((seeds, rates))  # seeds in order, for a mean to the last bit
    found, starts = np.unique(rates[by_rate], return_index=True)
    valid = np.split(counted["valid"].to_numpy(dtype=float)[by_rate], starts[1:])
    diverged = np.split((counted["status"] == "diverged").to_numpy(dtype=bool)[by_rate], starts[1:])
    means = np.array([of_rate.mean() for of_rate in valid])
    all_diverged = np.array([bool(of_rate.all()) for of_rate in diverged])
    curve = np.where(tunable(all_diverged), sign * means, -np.inf)
    return float(found[int(tuned_index(curve))])


def cells(runs: pd.DataFrame) -> Iterator[pd.DataFrame]:
    """The rows of each cell, in the table's order: never two tasks, subsets or metrics in one."""
    settings = _settings(runs)
    for _, rows in runs.groupby(["task", "scale", "method", *settings], sort=False, dropna=False):
        yield rows


def differing_settings(run: Mapping[str, Any], runs: pd.DataFrame) -> str:
    """The settings of a run in which its method's runs differ: `method.ether.blocks=4 task.subset=topic`."""
    same = runs[runs["method"] == run["method"]]
    differing = [column for column in _settings(runs) if same[column].nunique(dropna=False) > 1]
    return " ".join(f"{column}={run[column]}" for column in differing)


def _settings(runs: pd.DataFrame) -> list[str]:
    return [column for column in runs.columns if column.startswith(("method.", "task."))]
