"""Kills, signals and second coordinators: a sweep ends with the table of an undisturbed one."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from support.paths import FAULTS_HERE
from support.sweeps_under_test import (
    OFTEN,
    SMALL,
    no_workers_left,
    same_tables,
    start,
    start_to_kill,
    table,
    workers_of,
)

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("part", range(2))  # which run beside each other
def test_coordinator_killed_at_10_random_moments(part: int, undisturbed: Path, tmp_path: Path) -> None:
    """SIGKILL; workers end by themselves, nothing is lost, doubled or trained again once finished."""
    folder = tmp_path / "results" / "small"
    moments = random.Random(part)
    seen: dict[str, str] = {}
    kills = 0
    while kills < 10:
        process = start_to_kill(tmp_path, OFTEN)
        time.sleep(moments.uniform(0.1, 4.5))
        if process.poll() is not None:  # done before the blow fell: begin anew to be hit again
            shutil.rmtree(folder)
            seen.clear()
            continue
        process.kill()
        process.wait()
        kills += 1
        for path in (folder / "records").glob("*.json"):
            content = path.read_text()
            assert seen.setdefault(path.name, content) == content
        assert seen.keys() == {p.name for p in (folder / "records").glob("*.json")}
    assert no_workers_left(tmp_path, within=30)
    process = start(tmp_path, OFTEN)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    same_tables(folder, undisturbed)


@pytest.mark.parametrize("part", range(2))
def test_workers_killed_at_10_random_moments(part: int, undisturbed: Path, tmp_path: Path) -> None:
    """SIGKILL to a random worker; another goes on from the checkpoint."""
    moments = random.Random(2 + part)
    kills = 0
    while kills < 10:
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        process = start(tmp_path, OFTEN)
        for log in moments.sample(["worker-0.log", "worker-1.log"] * 2, 4):  # a job may die twice, not thrice
            time.sleep(moments.uniform(0.3, 2.0))
            for worker in workers_of(tmp_path.resolve()):
                if process.poll() is None and os.readlink(f"/proc/{worker}/fd/1").endswith(log):
                    os.kill(worker, signal.SIGKILL)
                    kills += 1
        output = process.communicate(timeout=300)[0]
        assert process.returncode == 0, output
        same_tables(tmp_path / "results" / "small", undisturbed)
    print(f"{kills} kills")
    assert no_workers_left(tmp_path, within=2)


def test_a_worker_that_is_killed_repeats_at_most_one_interval(undisturbed: Path, tmp_path: Path) -> None:
    steps = tmp_path / "steps"
    arguments = [*SMALL, "method=ether", "lr=2e-3", "seeds=2", "task.steps=60", "checkpoint_s=0.5"]
    environment = {"PYTHONPATH": FAULTS_HERE, "STUDY_FAULTS": "slow:0.05", "STUDY_STEPS": str(steps)}
    process = start(tmp_path, arguments, **environment)
    while not list(tmp_path.rglob("*.checkpoint")):
        time.sleep(0.05)
    time.sleep(0.3)
    for worker in workers_of(tmp_path.resolve()):
        os.kill(worker, signal.SIGKILL)
    assert process.wait(timeout=120) == 0
    trained = [int(line.split()[3]) for line in steps.read_text().splitlines() if " 0.002 " in line]
    repeated = len(trained) - len(set(trained))
    print(f"{repeated} steps repeated")
    assert set(trained) == set(range(1, 61)) and repeated <= 0.5 / 0.05 + 2
    whole = start(tmp_path, [*arguments, "name=whole"])
    assert whole.wait(timeout=120) == 0
    same_tables(tmp_path / "results" / "small", tmp_path / "results" / "whole")
    assert table(tmp_path / "results" / "small", keep_circumstances=True).attempt.tolist() == [2, 2]


@pytest.mark.parametrize("number,times,code,within", [
    (signal.SIGINT, 1, 130, 10), (signal.SIGINT, 2, 130, 2), (signal.SIGTERM, 1, 143, 10)
])  # fmt: skip
def test_a_signal_stops_the_sweep_and_says_how_to_go_on(
    number: int, times: int, code: int, within: float, tmp_path: Path
) -> None:
    process = start_to_kill(tmp_path, [*SMALL, "task.steps=2000", "checkpoint_s=1"])
    while not list(tmp_path.rglob("*.checkpoint")):
        time.sleep(0.1)
    for last in range(times):
        time.sleep(0.2 * last)
        process.send_signal(number)
        asked = time.monotonic()
    output = process.communicate(timeout=30)[0]
    print(f"stopped after {time.monotonic() - asked:.1f} s")
    assert time.monotonic() - asked < within
    assert process.returncode == code, output
    assert "Go on with: python -m study.sweep lr_grid" in output and "Traceback" not in output
    assert no_workers_left(tmp_path, within=0.5)
    assert list(tmp_path.rglob("*.checkpoint"))


def test_two_coordinators_at_once_ten_times(undisturbed: Path, tmp_path: Path) -> None:
    """One works; the other is told which, and does nothing."""
    for attempt in range(10):
        shutil.rmtree(tmp_path / "results", ignore_errors=True)
        arguments = SMALL if attempt == 9 else [*SMALL, "task.steps=5000", "launcher.workers=1"]
        pair = [start_to_kill(tmp_path, arguments) for _ in range(2)]
        while all(process.poll() is None for process in pair):
            time.sleep(0.02)
        told = next(process for process in pair if process.poll() is not None)
        working = next(process for process in pair if process is not told)
        assert told.returncode == 2
        assert f"by process {working.pid} on {os.uname().nodename}" in told.communicate()[0]
        if attempt < 9:
            working.kill()
        working.communicate(timeout=120)
    same_tables(tmp_path / "results" / "small", undisturbed)


def test_a_stale_lock_is_taken_over_with_a_message(undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "results" / "small")
    dead = {"pid": 2**22 + 1, "host": os.uname().nodename}
    (tmp_path / "results" / "small" / "lock").write_text(json.dumps(dead))
    process = start(tmp_path, SMALL)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 0
    assert f"process {dead['pid']} on {dead['host']} ended without letting go" in output
