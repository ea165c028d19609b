"""How long the rest takes, by hand: the plan at first, put right by what packs really take."""

from __future__ import annotations

import math

import pytest

from study.planning.progress import PRIOR_S, PackLeft, PackProgress, Tally, seconds_left


def pack(seconds: float, step: int | None = None, taken: float = 0.0, runs: int = 2) -> PackLeft:
    at = None if step is None else PackProgress(runs=runs, step=step, steps=100, seconds=taken)
    return PackLeft("lora", runs, 100, seconds, at)


def test_before_anything_is_measured_it_is_the_plan() -> None:
    packs = [pack(60.0), pack(40.0), pack(30.0)]
    assert seconds_left(packs, workers=1) == 130.0
    assert seconds_left(packs, workers=2) == 70.0  # 60 beside 40 and 30


def test_what_runs_as_planned_leaves_what_is_planned() -> None:
    assert seconds_left([pack(1000.0, step=25, taken=250.0)], workers=1) == pytest.approx(750.0)


@pytest.mark.parametrize("slowness", [0.5, 1.0, 3.0])
def test_a_slower_machine_takes_longer_for_what_is_left_and_what_waits(slowness: float) -> None:
    packs = [pack(1e6, step=50, taken=5e5 * slowness), pack(1e6)]
    assert seconds_left(packs, workers=1) == pytest.approx(1.5e6 * slowness, rel=1e-4)
    assert seconds_left(packs, workers=2) == pytest.approx(1e6 * slowness, rel=1e-4)


def test_the_first_steps_of_all_decide_little() -> None:
    """A step that took a second instead of the planned tenth: not ten times the time is left."""
    left = seconds_left([pack(10.0, step=1, taken=1.0)], workers=1)
    assert left == pytest.approx(9.9 * (PRIOR_S + 1.0) / (PRIOR_S + 0.1))


def test_packs_that_are_done_teach_the_pace_too() -> None:
    tally = Tally(planned=4, run_steps_planned=400)
    tally.end(pack(1e6, step=100, taken=2e6), ["ok", "diverged"])
    outlook = tally.outlook([pack(1e6)], workers=1)
    assert outlook.seconds_left == pytest.approx(2e6, rel=1e-4)


def test_runs_and_steps_are_counted() -> None:
    tally = Tally(planned=7, run_steps_planned=700, run_steps=100)
    tally.end(pack(1.0), ["ok", "failed"])
    running = PackLeft("a", 3, 100, 9.0, PackProgress(3, 20, 100, 1.0, diverged=1))
    outlook = tally.outlook([running, PackLeft("b", 1, 100, 1.0)], workers=2)
    assert outlook.run_steps == 100 + 200 + 3 * 20 and outlook.run_steps_planned == 700
    assert outlook.ended == 2 and outlook.diverged == 1 and list(outlook.running) == [running]
    tally.statuses["diverged"] += 1
    assert tally.outlook([running], 1).diverged == 2


def test_runs_without_a_step_have_nothing_left_to_divide_by() -> None:
    at = PackProgress(runs=2, step=0, steps=0, seconds=3.0)
    assert at.share == 0 and math.isnan(at.best)
    assert seconds_left([PackLeft("a", 2, 0, 10.0, at)], 1) > 0 and seconds_left([], 2) == 0
