"""What a chart tells of a point that has error bars."""

from __future__ import annotations

import math

import matplotlib.pyplot as plt

from analysis.figures.explorable import _bar_texts


def test_a_point_tells_its_interval_where_it_has_one() -> None:
    """A score of one seed has no interval, one that is not there nothing; neither moves its neighbours'."""
    figure, axes = plt.subplots()
    values = [0.5, 0.25, math.nan, 0.75]
    spread = [0.125, math.nan, math.nan, 0.25]
    bar = axes.errorbar([1, 2, 3, 4], values, yerr=spread)
    told = _bar_texts(bar, [None if math.isnan(value) else value for value in values])
    assert told == ["0.5 [0.375, 0.625]", "0.25", "–", "0.75 [0.5, 1]"]
    plt.close(figure)
