"""Sweeps on a real Slurm cluster: equal to the local sweep, whatever is done to the tasks.

`make test-slurm`. The faults run side by side, each on nodes of its own; every test waits for its own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pandas as pd
import pytest
from slurm.cases import ACCOUNTED, CASES, PARTITIONS
from slurm.cluster import PACKAGES, Cluster, missing_programs
from slurm.sweep import INTERVAL_S, TEN, TWENTY, Sweep, same_tables, study_on_this_machine

pytestmark = [pytest.mark.slow, pytest.mark.slurm]


def _start(folder: Path, partitions: dict[str, tuple[list[int], str]], accounting: bool) -> Cluster:
    if os.geteuid() != 0:
        pytest.skip("a cluster of its own needs root")
    if missing := missing_programs(accounting):
        pytest.skip(f"no {', '.join(missing)} here: apt-get install {' '.join(PACKAGES)}")
    cluster = Cluster(folder, partitions, accounting)
    cluster.start()
    return cluster


@pytest.fixture(scope="module")
def clusters(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, Cluster]]:
    plain = _start(tmp_path_factory.mktemp("plain") / "slurm", PARTITIONS, accounting=False)
    try:
        two = {"two": ([1, 2], "Default=YES")}
        accounted = _start(tmp_path_factory.mktemp("accounted") / "slurm", two, accounting=True)
        try:
            yield plain, accounted
        finally:
            accounted.stop()
    finally:
        plain.stop()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sweep of twenty on this machine."""
    return study_on_this_machine(tmp_path_factory.mktemp("local"), TWENTY)


@pytest.fixture(scope="module")
def outcomes(
    clusters: tuple[Cluster, Cluster], expected: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[Sweep]]]:
    plain, accounted = clusters
    with ThreadPoolExecutor(16) as threads:
        started = {
            name: threads.submit(case, plain, tmp_path_factory.mktemp("cases") / name)
            for name, case in CASES.items()
        }
        for name, case in ACCOUNTED.items():
            folder = tmp_path_factory.mktemp("accounted-cases") / name
            started[f"{name}-accounted"] = threads.submit(case, accounted, folder)
        yield started


# The tests ------------------------------------------------------------------------------------


def test_twenty_runs_over_two_nodes_equal_the_local_sweep(
    outcomes: dict[str, Future[Sweep]], expected: Path
) -> None:
    sweep = outcomes["two_nodes"].result()
    assert sweep.process.returncode == 0 and "20 of 20 runs" in sweep.text(), sweep.text()
    same_tables(sweep.study, expected)
    logs = "".join(p.read_text() for p in sweep.study.rglob("*_log.out"))
    assert "gpu1" in logs or len(re.findall("Starting with", logs)) >= 4


CONTRACT = """
import sys
from pathlib import Path

from study import config
from study.testing import launcher_contract

overrides = ["launcher=slurm", "launcher.partition=contract", "launcher.device=cpu"]
results = launcher_contract.run(config.load("lr_grid", overrides).launcher, Path.cwd())
for result in results:
    print(result.check, result.ok, result.message, f"{result.seconds:.0f} s")
sys.exit(not all(result.ok for result in results))
"""


def test_the_launcher_keeps_the_contract_of_launchers(
    clusters: tuple[Cluster, Cluster], outcomes: dict[str, Future[Sweep]], tmp_path: Path
) -> None:
    """On nodes of its own, while the cases run beside it."""
    environment = clusters[0].environment | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CONTRACT], cwd=tmp_path, env=environment, capture_output=True, text=True,
        timeout=900,
    )  # fmt: skip
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", ["usr2", "requeued", "preempted"])
def test_a_task_that_is_interrupted_goes_on(
    case: str, outcomes: dict[str, Future[Sweep]], expected: Path
) -> None:
    sweep = outcomes[case].result()
    assert sweep.process.returncode == 0, sweep.text()
    same_tables(sweep.study, expected)
    repeated, seconds = sweep.again()
    print(f"{case}: {repeated} steps repeated, {seconds:.1f} s")
    assert seconds <= INTERVAL_S + 2 * sweep.slow + 1  # one interval, and the steps at its ends
    assert pd.read_parquet(sweep.study / "runs.parquet").attempt.max() == 2


def test_a_pack_longer_than_the_time_limit_goes_on(
    outcomes: dict[str, Future[Sweep]], clusters: tuple[Cluster, Cluster]
) -> None:
    sweep = outcomes["time_limit"].result()
    assert sweep.process.returncode == 0, sweep.text()
    repeated, _ = sweep.again()
    print(f"time limit: {repeated} steps repeated")
    assert repeated == 0  # it knew its time and saved before
    assert pd.read_parquet(sweep.study / "runs.parquet").attempt.max() >= 2


@pytest.mark.parametrize("case", ["cancelled", "killed", "cancelled-accounted", "killed-accounted"])
def test_a_task_that_is_ended_is_reported_and_the_others_are_untouched(
    case: str, outcomes: dict[str, Future[Sweep]], expected: Path
) -> None:
    sweep = outcomes[case].result()
    print(f"{case}: reported after {sweep.reported_after:.0f} s")
    assert sweep.first_code == 1 and "5 ok" in sweep.text(), sweep.text()
    cause = "CANCELLED" if "cancelled" in case else "SIGKILL"
    assert cause in sweep.text()
    assert re.search(f"lost: .*{cause}", sweep.status) and "5 of 10 runs done" in sweep.status
    assert len(sweep.records_before) == 1  # the other pack's
    for name, content in sweep.records_before.items():
        assert (sweep.study / "records" / name).read_bytes() == content
    assert sweep.process.returncode == 0
    same_tables(sweep.study, expected)


def test_a_node_that_is_cut_off_leaves_one_record_per_run(outcomes: dict[str, Future[Sweep]]) -> None:
    sweep = outcomes["cut_off"].result()
    assert sweep.process.returncode == 0, sweep.text()
    runs = pd.read_parquet(sweep.study / "runs.parquet")
    assert len(runs) == 5 and runs.run_id.is_unique and (runs.attempt == 2).all()
    assert len(list((sweep.study / "records").glob("*.json"))) == 1


def test_a_held_task_is_reported_with_its_reason(outcomes: dict[str, Future[Sweep]]) -> None:
    sweep = outcomes["held"].result()
    print(f"held: reported after {sweep.reported_after:.0f} s")
    assert "held: JobHeldUser" in sweep.text() and sweep.process.returncode == 0, sweep.text()
    assert "JobHeldUser" in sweep.status


def test_detached_tasks_are_collected_by_the_same_command(
    outcomes: dict[str, Future[Sweep]], expected: Path
) -> None:
    sweep = outcomes["detached"].result()
    assert sweep.process.returncode == 0 and sweep.text().count("detached;") == 2, sweep.text()
    same_tables(sweep.study, expected)


def test_a_partition_that_does_not_exist_is_refused(
    clusters: tuple[Cluster, Cluster], tmp_path: Path
) -> None:
    began = time.monotonic()
    refused = subprocess.run(
        [sys.executable, "-m", "study.sweep", *TEN, "launcher=slurm", "launcher.partition=tow"],
        cwd=tmp_path, env=clusters[0].environment, capture_output=True, text=True,
    )  # fmt: skip
    assert time.monotonic() - began < 5
    assert refused.returncode == 2
    assert "launcher.partition=tow: no such partition; nearest: two" in refused.stderr


def test_a_controller_that_is_down_for_30_s_delays_a_submission(
    clusters: tuple[Cluster, Cluster], outcomes: dict[str, Future[Sweep]], tmp_path: Path, expected: Path
) -> None:
    """Last, for it stops the cluster: every other case has ended. The sweep may need long to notice."""
    for future in outcomes.values():
        future.exception()
    plain = clusters[0]
    plain.kill("slurmctld")
    sweep = Sweep(plain, tmp_path / "down", "two", TEN, slow=0.0)
    down = time.monotonic()
    sweep.until(lambda: "does not answer; trying again" in sweep.text(), "the report")
    time.sleep(max(0.0, 30 - (time.monotonic() - down)))
    plain.start_controller()
    assert sweep.ended() == 0, sweep.text()
    same_tables(sweep.study, expected)


def test_the_tests_leave_nothing_behind() -> None:
    """The clusters' own folders are theirs alone; nothing of theirs is in the usual places."""
    assert shutil.which("sbatch") is None or "SLURM_CONF" not in os.environ
