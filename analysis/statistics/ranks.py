"""Who ranks where over several tasks: average ranks, Friedman's test and Nemenyi's critical difference.

On every task the methods are ranked, 1 for the best, equal ones sharing the mean of their places. Two methods
differ over the tasks if their average ranks lie further apart than the critical difference (Demšar 2006, JMLR
7:1-30). The tasks are the sample here, not the seeds: with few of them only large differences can be shown.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

LEVEL = 0.05


@dataclass(frozen=True)
class Ranking:
    """Ranks of k methods on N tasks.

    ranks: (N, k), index tasks, columns methods; average: (k,), the best first.
    critical_difference: of average ranks, at LEVEL. p: Friedman's, of no difference at all; nan where k < 3.
    """

    ranks: pd.DataFrame
    average: pd.Series
    critical_difference: float
    p: float

    def groups(self) -> list[tuple[int, int]]:
        """The largest stretches of `average`, first to last, within which no difference is shown."""
        means = self.average.to_numpy()
        ends = [int(np.flatnonzero(means - mean <= self.critical_difference)[-1]) for mean in means]
        stretches = [(start, end) for start, end in enumerate(ends) if end > start]
        return [s for s in stretches if not any(o != s and o[0] <= s[0] and s[1] <= o[1] for o in stretches)]


def rank(scores: pd.DataFrame) -> Ranking | None:
    """Ranks the methods by scores of which more is better; None with fewer than two tasks or methods.

    Args:
        scores: (N, k); methods that lack a score on some task are left out.
    """
    complete = scores.dropna(axis="columns")
    tasks, methods = complete.shape
    if tasks < 2 or methods < 2:
        return None
    ranks = complete.rank(axis="columns", ascending=False)
    p = float(stats.friedmanchisquare(*complete.T.to_numpy()).pvalue) if methods > 2 else np.nan
    return Ranking(ranks, ranks.mean().sort_values(kind="stable"), critical_difference(methods, tasks), p)


def critical_difference(methods: int, tasks: int) -> float:
    """Of Nemenyi's test: q sqrt(k (k + 1) / 6 N), q of the studentised range over sqrt(2)."""
    q = stats.studentized_range.ppf(1 - LEVEL, methods, np.inf) / np.sqrt(2)
    return float(q * np.sqrt(methods * (methods + 1) / (6 * tasks)))
