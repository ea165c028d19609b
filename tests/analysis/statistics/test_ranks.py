"""Average ranks over tasks and the critical difference, by hand and against printed values."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from analysis.statistics.ranks import critical_difference, rank


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_the_printed_one(methods: int, q: float) -> None:
    """q at 5 %: Demšar 2006, table 5 (a)."""
    expected = q * math.sqrt(methods * (methods + 1) / (6 * 14))
    assert critical_difference(methods, 14) == pytest.approx(expected, rel=1e-3)


def test_ranks_share_places_and_average_over_tasks() -> None:
    scores = pd.DataFrame(
        {"a": [0.9, 0.8, 0.7], "b": [0.5, 0.8, 0.6], "c": [0.1, 0.2, 0.3], "d": [0.4, np.nan, 1]}
    )
    ranking = rank(scores)
    assert ranking is not None
    assert ranking.average.to_dict() == pytest.approx(
        {"a": 3.5 / 3, "b": 5.5 / 3, "c": 3.0}
    )  # d lacks a task
    # Friedman with a tie, by hand: chi2 = 12 / (N k (k+1)) sum R^2 - 3 N (k+1), over 1 - 6 / (N (k^3 - k))
    chi2 = (12 / 36 * (3.5**2 + 5.5**2 + 9**2) - 36) / (1 - 6 / (3 * 24))
    assert ranking.p == pytest.approx(math.exp(-chi2 / 2))  # chi-squared with two degrees of freedom


def test_groups_are_the_largest_stretches_without_a_difference() -> None:
    scores = pd.DataFrame(np.tile([5.0, 4.0, 3.0, 2.0], (7, 1)), columns=list("abcd"))
    ranking = rank(scores)
    assert ranking is not None and ranking.critical_difference == pytest.approx(1.773, abs=1e-3)
    assert ranking.groups() == [(0, 1), (1, 2), (2, 3)]
    wide = rank(scores.iloc[:2])
    assert wide is not None and wide.groups() == [(0, 3)]


def test_one_task_or_one_method_ranks_nobody() -> None:
    assert rank(pd.DataFrame({"a": [1.0], "b": [2.0]})) is None
    assert rank(pd.DataFrame({"a": [1.0, 2.0]})) is None
