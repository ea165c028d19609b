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
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
from slurm.cluster import PACKAGES, Cluster, missing_programs
from support.paths import FAULTS

from study.launchers.slurm import batch_name
from study.storage.schema import CIRCUMSTANCES

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

TWENTY = [
    "lr_grid", "method=ether,lora", "lr=1e-4,1e-3,1e-2,1e-1,1", "seeds=2", "pack_size=5", "task.steps=100",
    "task.evaluations=2", "report=false", "name=study", "checkpoint_s=2", "launcher.device=cpu",
]  # fmt: skip
TEN = [*TWENTY, "method=ether"]
INTERVAL_S = 2.0

PARTITIONS: dict[str, tuple[list[int], str]] = {
    "two": ([1, 2], "Default=YES"),
    "usr2": ([3], ""),
    "requeue": ([4], ""),
    "low": ([5], "PriorityTier=1"),
    "high": ([5], "PriorityTier=10"),
    "limit": ([6], ""),
    "cancel": ([7], ""),
    "kill": ([8], ""),
    "cut": ([9, 10], ""),
    "held": ([11], ""),
    "detached": ([12], ""),
}


def table(study: Path, name: str = "runs") -> pd.DataFrame:
    beside = [*CIRCUMSTANCES, "git_sha", "git_dirty"]  # the checkout may change while these tests run
    return pd.read_parquet(study / f"{name}.parquet").drop(columns=beside, errors="ignore")


def same_tables(study: Path, expected: Path) -> None:
    for name in ("runs", "history", "layers"):
        found, wanted = table(study, name), table(expected, name)
        wanted = wanted[wanted.run_id.isin(found.run_id)].reset_index(drop=True)
        columns = [c for c in wanted.columns if not wanted[c].isna().all() or c in found.columns]
        pd.testing.assert_frame_equal(found[columns], wanted[columns], check_exact=True, check_dtype=False)


@dataclass
class Sweep:
    """One sweep command on a cluster, in a folder of its own."""

    cluster: Cluster
    folder: Path
    partition: str
    arguments: list[str]
    slow: float = 0.15

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.study = self.folder / "results" / "study"
        self.steps = self.folder / "steps"
        self.environment = self.cluster.environment | {
            "PYTHONPATH": str(FAULTS), "STUDY_FAULTS": f"slow:{self.slow}", "STUDY_STEPS": str(self.steps),
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.output = self.folder / "output"
        self.start()

    def start(self, *more: str) -> None:
        arguments = [*self.arguments, "launcher=slurm", f"launcher.partition={self.partition}", *more]
        self.began = time.monotonic()
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "study.sweep", *arguments],
                cwd=self.folder, env=self.environment, stdout=output, stderr=output,
            )  # fmt: skip

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def until(self, ready: Callable[[], object], what: str, seconds: float = 300) -> float:
        """Waits; returns how long it took."""
        began = time.monotonic()
        while not ready():
            if time.monotonic() - began > seconds:
                queue = self.cluster.ask("squeue", "-o", "%i %j %P %T %r %N").stdout
                logs = "".join(p.read_text(errors="replace")[-1500:] for p in self.study.rglob("*_log.err"))
                raise TimeoutError(f"{what}: not within {seconds} s\n{self.text()}\n{queue}\n{logs}")
            time.sleep(0.25)
        return time.monotonic() - began

    def ask_status(self) -> str:
        command = [sys.executable, "-m", "study.status", "study"]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        ).stdout

    def ended(self, seconds: float = 600) -> int:
        self.until(lambda: self.process.poll() is not None, "the sweep's end", seconds)
        assert self.process.returncode is not None
        return self.process.returncode

    def training_task(self) -> str:
        """Waits until a pack has a checkpoint and is not nearly done; gives its task's id."""
        self.until(lambda: list(self.study.glob("checkpoints/*/*.checkpoint")), "a checkpoint")
        names = ",".join(batch_name(path.parent.name) for path in self.study.glob("slurm/*/batch.json"))
        running = self.cluster.ask("squeue", "-h", "-r", "-n", names, "-t", "R", "-o", "%i")
        return running.stdout.split()[0]

    def again(self) -> tuple[int, float]:
        """Steps trained more than once, and the longest time that was repeated at once, in seconds."""
        seen: dict[str, dict[int, float]] = {}
        repeated, longest, first = 0, 0.0, 0.0
        for line in self.steps.read_text().splitlines():
            *pack, step, at = line.split()
            own = seen.setdefault(" ".join(pack), {})
            if int(step) in own:
                first = first or own[int(step)]
                repeated, longest = repeated + 1, max(longest, own[int(step)] - first)
            else:
                first = 0.0
            own[int(step)] = float(at)
        return repeated, longest

    def finishes_like(self, expected: Path) -> None:
        code = self.ended()
        assert code == 0, self.text()
        same_tables(self.study, expected)


# The cases ------------------------------------------------------------------------------------


def two_nodes(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "two", TWENTY, slow=0.05)
    sweep.ended()
    return sweep


def usr2(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "usr2", TEN)
    cluster.ask("scancel", "--signal=USR2", sweep.training_task())
    sweep.ended()
    return sweep


def requeued(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "requeue", TEN)
    cluster.ask("scontrol", "requeue", sweep.training_task())
    sweep.ended()
    return sweep


def preempted(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "low", TEN)
    sweep.training_task()
    cluster.ask("sbatch", "-p", "high", "-c", "2", "--gres=gpu:1", "-o", "/dev/null", "--wrap", "sleep 5")
    sweep.ended()
    return sweep


def time_limit(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "limit", [*TEN, "seeds=1", "launcher.timeout_min=2"], slow=1.2)
    sweep.ended()
    return sweep


def cancelled(cluster: Cluster, folder: Path) -> Sweep:
    partition = "cancel" if "cancel" in cluster.partitions else "two"
    sweep = Sweep(cluster, folder, partition, TEN)
    return _hit(sweep, lambda task: cluster.ask("scancel", task))


def killed(cluster: Cluster, folder: Path) -> Sweep:
    def kill(task: str) -> None:
        own = f"SLURM_ARRAY_TASK_ID={task.split('_')[1]}\0".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            ours = b"submitit.core._submit" in command and str(sweep.study).encode() in command
            if ours and b"python" in command.split(b"\0")[0] and own in environment:
                os.kill(int(entry.name), 9)

    partition = "kill" if "kill" in cluster.partitions else "two"
    sweep = Sweep(cluster, folder, partition, TEN)
    return _hit(sweep, kill)


def _hit(sweep: Sweep, blow: Callable[[str], object]) -> Sweep:
    """One task is ended from outside: reported within 60 s, the other one finishes; then the rest is done."""
    task = sweep.training_task()
    blow(task)
    sweep.reported_after = sweep.until(lambda: "have no result" in sweep.text(), "the report", 60)
    sweep.first_code = sweep.ended()
    sweep.status = sweep.ask_status()
    sweep.records_before = {p.name: p.read_bytes() for p in (sweep.study / "records").iterdir()}
    sweep.start()
    sweep.ended()
    return sweep


def cut_off(cluster: Cluster, folder: Path) -> Sweep:
    """A node's slurmd is killed; its task lives on while Slurm gives the job to the other node."""
    sweep = Sweep(cluster, folder, "cut", [*TEN, "seeds=1"], slow=4.0)
    task = sweep.training_task()
    node = cluster.ask("squeue", "-h", "-j", task, "-o", "%N").stdout.strip()
    cluster.kill(f"slurmd-{node.removeprefix('gpu')}")
    sweep.ended(900)
    cluster.start_node(int(node.removeprefix("gpu")))
    return sweep


def held(cluster: Cluster, folder: Path) -> Sweep:
    arguments = [*TEN, "seeds=1", "launcher.additional_parameters.hold=true"]
    sweep = Sweep(cluster, folder, "held", arguments, slow=0.0)
    for _ in range(2):  # the probe, then the pack
        before = sweep.text().count("held: ")
        sweep.reported_after = sweep.until(  # the second time the probe's own run is in it
            lambda before=before: sweep.text().count("held: ") > before, "the reason"
        )
        sweep.status = sweep.ask_status()
        queued = cluster.ask("squeue", "-h", "-r", "-p", "held", "-o", "%i").stdout.split()
        cluster.ask("scontrol", "release", *queued)
    sweep.ended()
    return sweep


def detached(cluster: Cluster, folder: Path) -> Sweep:
    """Submit and return, twice (the probe, the packs); the code may change meanwhile; then collect."""
    sweep = Sweep(cluster, folder, "detached", [*TEN, "detach=true"], slow=0.0)
    assert sweep.ended() == 0
    sweep.until(lambda: list(sweep.study.glob("slurm/*/answers/0.json")), "the probe's answer")
    sweep.start()
    assert sweep.ended() == 0, sweep.text()
    sweep.until(lambda: len(list(sweep.study.glob("records/*.json"))) == 2, "the records")
    sweep.start()
    sweep.ended()
    return sweep


CASES = {f.__name__: f for f in (
    two_nodes, usr2, requeued, preempted, time_limit, cancelled, killed, cut_off, held, detached
)}  # fmt: skip
ACCOUNTED = {"cancelled": cancelled, "killed": killed}


# The clusters ---------------------------------------------------------------------------------


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
    """The sweep of twenty on this machine, with one thread as on the nodes."""
    folder = tmp_path_factory.mktemp("local")
    subprocess.run(
        [sys.executable, "-m", "study.sweep", *TWENTY, "launcher.workers=2"], cwd=folder, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return folder / "results" / "study"


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
    assert pd.read_parquet(sweep.study / "runs.parquet").attempt.max() == 2


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
    """Last, for it stops the cluster: every other case has ended."""
    for future in outcomes.values():
        future.exception()
    plain = clusters[0]
    plain.kill("slurmctld")
    sweep = Sweep(plain, tmp_path / "down", "two", TEN, slow=0.0)
    time.sleep(30)
    plain.start_controller()
    assert sweep.ended() == 0, sweep.text()
    assert "does not answer; trying again" in sweep.text()
    same_tables(sweep.study, expected)


def test_the_tests_leave_nothing_behind() -> None:
    """The clusters' own folders are theirs alone; nothing of theirs is in the usual places."""
    assert shutil.which("sbatch") is None or "SLURM_CONF" not in os.environ
