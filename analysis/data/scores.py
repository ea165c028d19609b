"""One label's runs as arrays of scores over learning rates and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from study.storage.rows import FINISHED


@dataclass(frozen=True)
class Scores:
    """One label's scores, in the metric's own unit and direction.

    lrs: (L,) learning rates, ascending, those with at least one scored run.
    seeds: (S,) seeds, ascending.
    valid, test: (L, S); nan where that learning rate and seed have no scored run, that is a run
        that failed or was never recorded. Diverged runs are never nan.
    all_diverged: (L,) rates at which every run diverged.
    """

    lrs: NDArray[np.float64]
    seeds: NDArray[np.int64]
    valid: NDArray[np.float64]
    test: NDArray[np.float64]
    all_diverged: NDArray[np.bool_]


def scores(rows: pd.DataFrame) -> Scores:
    """The rows of one label as arrays; failed runs become nan. See `Scores` for the shapes."""
    counted = rows[rows["status"].isin(FINISHED)]
    seeds = np.sort(rows["seed"].unique())
    lrs = np.sort(counted["lr"].unique())
    tables = [
        counted.pivot(index="lr", columns="seed", values=split).reindex(index=lrs, columns=seeds)
        for split in ("valid", "test")
    ]
    valid, test = (table.to_numpy(dtype=float) for table in tables)
    all_diverged = (counted["status"] == "diverged").groupby(counted["lr"]).all().reindex(lrs)
    return Scores(lrs.astype(float), seeds, valid, test, all_diverged.to_numpy(dtype=bool))


def direction(runs: pd.DataFrame) -> float:
    """1 where more of the metric is better, else -1: times a score, more is better."""
    return 1.0 if bool(runs["higher_is_better"].iloc[0]) else -1.0
