"""Where trials are judged, and which of them go on: against counts made by hand."""

from __future__ import annotations

from collections import Counter

import pytest

from study import config
from study.planning.rungs import brackets, promoted, rung_steps
from study.settings import TaskSettings


def task(steps: int, evaluations: int) -> TaskSettings:
    settings = config.load("space", [f"task.steps={steps}", f"task.evaluations={evaluations}"]).task
    assert len(settings.evaluation_steps()) == evaluations
    return settings


@pytest.mark.parametrize(
    ("steps", "evaluations", "reduction", "rungs", "expected"),
    [
        (90, 9, 3, 2, [10, 30]),  # a ninth and a third, where it is measured anyway
        (150, 6, 3, 2, [25, 50]),  # 16.7: the first evaluation after that
        (80, 8, 2, 3, [10, 20, 40]),
        (100, 2, 2, 1, [50]),
    ],
)
def test_a_run_is_judged_where_it_is_measured(
    steps: int, evaluations: int, reduction: int, rungs: int, expected: list[int]
) -> None:
    settings = task(steps, evaluations)
    judged_at = rung_steps(settings, reduction, rungs)
    assert judged_at == expected
    assert set(judged_at) < settings.evaluation_steps()


def test_hyperbands_brackets_are_those_of_its_paper() -> None:
    """Three brackets of reduction 3: 9 trials from 1/9 of the steps, 5 from 1/3, 3 to the end. Its Table 1
    has five: 81, 34, 15, 8, 5."""
    settings = config.load("space", ["pruner=hyperband"])
    assert Counter(brackets(settings, 17)) == {2: 9, 1: 5, 0: 3}
    assert brackets(settings, 20)[17:] == [2, 2, 2]
    settings.rungs = 4
    assert Counter(brackets(settings, 143)) == {4: 81, 3: 34, 2: 15, 1: 8, 0: 5}


def test_halving_has_one_bracket() -> None:
    assert brackets(config.load("space", ["pruner=halving", "rungs=1"]), 5) == [1] * 5


@pytest.mark.parametrize(
    ("scores", "higher", "expected"),
    [
        ([0.1, 0.9, 0.5, 0.7, 0.2, 0.3], True, {1, 3}),
        ([0.1, 0.9, 0.5, 0.7, 0.2, 0.3], False, {0, 4}),
        ([0.5, 0.5, 0.5], True, {0}),  # of equal ones the first
        ([None, 0.1, 0.2], True, {2}),
        ([None, 0.1], True, {1}),  # at least one
        ([None, None, None, 0.4, None, None], True, {3}),  # no room is filled with what cannot go on
        ([None, None], True, set()),
        ([0.0, 0.2, -0.1], True, {1}),
    ],
)
def test_the_best_third_goes_on(scores: list[float | None], higher: bool, expected: set[int]) -> None:
    assert promoted(scores, 3, higher) == expected
