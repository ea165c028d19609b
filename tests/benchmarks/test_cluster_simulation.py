"""The simulated cluster against cases worked out by hand, and what must hold whatever is drawn."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from support.paths import REFERENCE

from benchmarks.cluster import main
from benchmarks.cluster_simulation import (
    Cluster,
    Curve,
    choose_bound,
    choose_three,
    simulate,
    simulate_seed,
)
from study.errors import UsageError

MEASURED = REFERENCE / "benchmark" / "sizes.csv"
CURVE = Curve((1, 2, 4), (1.0, 0.8, 0.5))
WORK = [600.0 + pack for pack in range(50)]
MANY = Cluster(gpus=7, preemptions=200, spread=0.3)


def scheduled(*seconds: float) -> Callable[[], float]:
    """Preemptions so long after the first starts, in the order of the starts; none later."""
    left = list(seconds)
    return lambda: left.pop(0) if left else math.inf


@pytest.mark.parametrize(("packs", "gpus"), [(6, 3), (7, 3), (2, 3), (1, 1)])
def test_equal_packs_on_equal_gpus_go_in_waves(packs: int, gpus: int) -> None:
    outcome = simulate([10.0] * packs, [1.0] * gpus, Cluster(gpus, startup_s=0), scheduled())
    assert outcome.makespan == -(-packs // gpus) * 10


def test_one_gpu_does_all_the_work_and_every_startup() -> None:
    outcome = simulate([3.0, 5.0, 1.0], [0.5], Cluster(1, startup_s=2), scheduled())
    assert outcome.makespan == 3 * 2 + 9 / 0.5


def test_the_longest_goes_first() -> None:
    # 6 and 4 start; 3 follows 4, then 3 follows 6. Shortest first would take 3 + 6.
    outcome = simulate([3.0, 4.0, 6.0, 3.0], [1.0, 1.0], Cluster(2, startup_s=0), scheduled())
    assert outcome.makespan == 9
    assert outcome.finished == [1, 0, 2, 3]


def test_a_preemption_repeats_what_was_done_since_the_last_checkpoint() -> None:
    # 30 s of start-up, 150 s of training, of which the checkpoint at 120 s keeps 120.
    outcome = simulate([1000.0], [1.0], Cluster(1), scheduled(180))
    assert outcome.makespan == 180 + 121 + 30 + (1000 - 120)
    assert outcome.preempted == 1
    # At half the speed the same 120 s hold 60 s of the work.
    outcome = simulate([1000.0], [0.5], Cluster(1), scheduled(180))
    assert outcome.makespan == 180 + 121 + 30 + (1000 - 60) / 0.5


def test_a_preemption_before_training_loses_only_the_time() -> None:
    outcome = simulate([1000.0], [1.0], Cluster(1), scheduled(10))
    assert outcome.makespan == 10 + 121 + 30 + 1000


def test_the_gpu_of_a_preempted_pack_serves_others_while_it_waits() -> None:
    # Preempted at 60 s; the other pack then has the GPU for 300 s, and the first is back behind it.
    outcome = simulate([500.0, 300.0], [1.0], Cluster(1, startup_s=0), scheduled(60))
    assert outcome.finished == [1, 0]
    assert outcome.makespan == 60 + 300 + 440


@pytest.mark.parametrize("seed", range(5))
def test_every_pack_finishes_once_and_not_too_soon(seed: int) -> None:
    outcome = simulate_seed(WORK, MANY, seed)
    assert outcome.preempted > len(WORK)
    assert sorted(outcome.finished) == list(range(len(WORK)))
    assert outcome.makespan >= sum(WORK) / sum(MANY.speeds(random.Random(f"speeds {seed}")))


def test_a_seed_gives_one_outcome() -> None:
    assert simulate_seed(WORK, MANY, 1) == simulate_seed(WORK, MANY, 1)
    assert simulate_seed(WORK, MANY, 1) != simulate_seed(WORK, MANY, 2)


def test_preemptions_come_at_their_rate() -> None:
    draw = Cluster(1, preemptions=24).preempter(random.Random(0))
    assert sum(draw() for _ in range(10_000)) / 10_000 == pytest.approx(3600, rel=0.05)


def test_the_curve_goes_through_what_was_measured_and_no_further() -> None:
    assert [CURVE.at(size) for size in CURVE.sizes] == pytest.approx(CURVE.seconds)
    assert CURVE.at(3) == pytest.approx(0.8 - 0.3 * math.log2(3 / 2))
    assert CURVE.fastest == 4
    with pytest.raises(UsageError, match="outside the measured 1 to 4"):
        CURVE.at(5)


def test_packs_of_nearly_equal_size_hold_all_runs() -> None:
    # 10 runs, at most 4 in a pack: 3 + 3 + 4; a run alone takes 60 s.
    expected = [3 * CURVE.at(3) * 60, 3 * CURVE.at(3) * 60, 4 * 0.5 * 60]
    assert CURVE.work(10, 4, 60) == pytest.approx(expected)
    assert CURVE.work(5, 1, 60) == [60] * 5


def test_the_rules_choose() -> None:
    assert [choose_three(10_000, gpus, 23) for gpus in (10, 300, 1000, 9999)] == [23, 11, 3, 1]
    # 8 runs on 2 GPUs: packs of 1, 2, 3, 4 are bounded by 5, 4.8, 4.5 and 4 times a run alone.
    assert choose_bound(CURVE, Cluster(2, startup_s=0), 8, 60) == 4
    # On 100 GPUs the longest pack decides.
    assert choose_bound(CURVE, Cluster(100, startup_s=0), 8, 60) == 1


def test_the_command_writes_a_row_per_size_and_marks_one_choice(tmp_path: Path) -> None:
    sizes = tmp_path / "sizes.csv"
    rows = {"method": "lora", "batch_size": 16, "pack_size": CURVE.sizes, "seconds": CURVE.seconds}
    pd.DataFrame(rows).to_csv(sizes, index=False)
    main(["--runs", "200", "--seeds", "2", "--sizes", str(sizes), "--results", str(tmp_path / "out")])
    table = pd.read_csv(tmp_path / "out" / "cluster.csv")
    assert (table["low"] <= table["over_ideal"]).all() and (table["over_ideal"] <= table["high"]).all()
    marks = table.groupby(["gpus", "preemptions"])[["three", "bound"]].sum()
    assert len(marks) == 7 and (marks == 1).all(axis=None)
    assert {path.suffix for path in (tmp_path / "out").iterdir()} == {".csv", ".png", ".pdf", ".svg", ".json"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--method", "nothing", "--sizes", str(MEASURED)], "no run of 'nothing' alone"),
        (["--sizes", "nowhere.csv"], "there is no nowhere.csv"),
        (["--preemptions", "5000"], "before their first checkpoint"),
        (["--runs", "0"], "must be above 0"),
    ],
)
def test_wrong_usage_is_said(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        main(arguments)
