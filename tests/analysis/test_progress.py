"""The figures of a validation curve, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from analysis.statistics.progress import area, delay, progress

STEPS = np.array([0.0, 10.0, 40.0])


def test_progress_is_a_share_of_the_way() -> None:
    history = pd.DataFrame(
        {
            "seed": [0, 0, 0, 1, 1],
            "step": [0, 10, 40, 0, 10],
            "valid": [0.2, 0.5, 1.4, 0.1, np.nan],
        }
    )
    curves = progress(history, start=0.2, goal=0.8, steps=STEPS)
    assert curves.loc[0].tolist() == pytest.approx([0.0, 0.5, 1.0])  # an overshoot is there
    assert curves.loc[1].tolist() == [0.0, 0.0, 0.0]  # below the start, not finite, no longer recorded


def test_progress_of_scores_below_zero() -> None:
    """Minus the logarithm of a perplexity: from -4 to -2."""
    history = pd.DataFrame({"seed": 0, "step": STEPS, "valid": [-4.0, -3.0, -2.0]})
    assert progress(history, -4.0, -2.0, STEPS).loc[0].tolist() == pytest.approx([0, 0.5, 1])


def test_the_area_by_hand() -> None:
    curves = np.array([[0, 0.5, 1], [0, 0, 0], [1, 1, 1], [0, 0.25, 1]])
    # (10 x .25 + 30 x .75) / 40; (10 x .125 + 30 x .625) / 40
    assert area(curves, STEPS) == pytest.approx([0.625, 0, 1, 0.5])


def test_the_area_does_not_depend_on_how_often_a_straight_curve_is_evaluated() -> None:
    often = np.linspace(0, 40, 9)
    assert area((often / 40)[None], often) == pytest.approx(area((STEPS / 40)[None], STEPS)) == 0.5


def test_the_delay_by_hand() -> None:
    curves = np.array(
        [
            [0, 0.5, 1],  # .9 is .8 of the way from 10 to 40: 34
            [0, 1, 0],  # 9 of the first 10, however it goes on
            [0.95, 1, 1],  # from the start
            [0, 0.5, 0.89],  # never
            [0, 0.9, 0.9],  # at 10 exactly
        ]
    )
    assert delay(curves, STEPS) == pytest.approx([34 / 40, 9 / 40, 0, 1, 10 / 40])
    assert delay(curves[:1], STEPS, share=0.5) == pytest.approx([10 / 40])
