"""What is submitted on a real cluster: decided by the settings, up to what the cluster takes at a time.

`make test-slurm`. The cluster keeps accounts, and enforces their limits: a user may have two tasks.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm.cluster import Cluster, missing_programs
from slurm.sweep import TEN, Sweep, last_wins, same_tables, study_on_this_machine

from study.training.probe import TIMED_STEPS, WARM_STEPS

pytestmark = [pytest.mark.slow, pytest.mark.slurm]

NODES = {"jobs": ([1, 2], "Default=YES"), "limited": ([3, 4], "")}
AT_MOST = 2
ONE_EACH = last_wins([*TEN, "seeds=1", "pack_size=1"])
"""Packs of one run."""
PACKS = 5
PROBED = (0, WARM_STEPS + TIMED_STEPS)
"""Steps of the probe, which look like those of the first run; none where an earlier study measured it."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if os.geteuid() != 0 or missing_programs(accounting=True):
        pytest.skip("a cluster of its own needs root, and Debian's packages for it")
    more = "AccountingStorageEnforce=associations,limits,qos,safe"
    made = Cluster(tmp_path_factory.mktemp("submission") / "slurm", NODES, accounting=True, more=more)
    made.start()
    try:
        limit = f"MaxSubmitJobs={AT_MOST}"
        for words in ("account study", "account free", "user root account=free defaultaccount=free"):
            made.ask("sacctmgr", "-i", "add", *words.split())
        made.ask("sacctmgr", "-i", "add", "user", "root", "account=study", limit)
        made.until_usable("free")
        yield made
    finally:
        made.stop()


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packs on this machine."""
    return study_on_this_machine(tmp_path_factory.mktemp("local"), ONE_EACH)


def job_of(cluster: Cluster, sweep: Sweep) -> str:
    """What Slurm knows of one of the sweep's tasks."""
    found: list[str] = []

    def look() -> bool:
        ids = cluster.ask(
            "squeue", "-h", "-r", "--name", ",".join(sweep.batches()), "-o", "%i"
        ).stdout.split()
        found.extend(
            cluster.ask("scontrol", "show", "job", "-o", ids[0]).stdout.splitlines()[:1] if ids else []
        )
        return bool(found)

    sweep.until(look, "a task")
    return found[0]


def test_a_sweep_from_inside_a_job_is_as_its_settings_say(
    cluster: Cluster,
    tmp_path: Path,
    expected: Path,
) -> None:
    """The job has memory per core, a profile says more; the tasks have what the settings say."""
    inherited = {
        "SBATCH_TIMELIMIT": "1", "SBATCH_PARTITION": "nowhere", "SBATCH_ACCOUNT": "nobody",
        "SBATCH_GPUS": "9",
        "SBATCH_JOB_NAME": "mine", "SQUEUE_PARTITION": "limited", "SLURM_MEM_PER_CPU": "7",
    }  # fmt: skip
    exports = " ".join(f"export {name}={value};" for name, value in inherited.items())

    class FromInside(Sweep):
        def command(self, arguments: list[str]) -> list[str]:
            wrapped = f"{exports} {sys.executable} -m study.sweep {' '.join(arguments)}"
            options = ["--mem-per-cpu=100", "--time=30", "-n", "1", "-A", "free", "-p", "jobs"]
            return ["sbatch", "--wait", "-o", str(self.output), *options, "--wrap", wrapped]

    settings = ["launcher.mem_gb=0.5", "launcher.account=free", "launcher.timeout_min=77"]
    sweep = FromInside(cluster, tmp_path / "inside", "jobs", [*ONE_EACH, *settings], slow=0.05)
    job = job_of(cluster, sweep)
    assert sweep.ended() == 0, sweep.text()
    assert "TimeLimit=01:17:00" in job and "Partition=jobs" in job and "Account=free" in job
    assert re.search(r"MinMemoryNode=512M\b", job) and "MinMemoryCPU" not in job
    assert "JobName=ether-study-" in job and "gres/gpu=9" not in job and "gpu:9" not in job
    assert "SBATCH_TIMELIMIT=1 (launcher.timeout_min=77 decides)" in sweep.text()
    same_tables(sweep.study, expected)


def test_five_packs_are_done_where_two_may_be_submitted(
    cluster: Cluster,
    tmp_path: Path,
    expected: Path,
) -> None:
    """The coordinator is killed once in between; nothing is trained twice."""
    arguments = [*ONE_EACH, "launcher.account=study"]
    sweep = Sweep(cluster, tmp_path / "limited", "limited", arguments, slow=0.02)
    sweep.until(lambda: "are submitted as places free up" in sweep.text(), "the limit")
    sweep.until(lambda: len(list(sweep.study.glob("records/*.json"))) >= 2, "two records")
    sweep.process.kill()
    sweep.process.wait()
    sweep.start()
    assert sweep.ended() == 0, sweep.text()
    told = re.search(r"Slurm takes no more tasks now \(AssocMaxSubmitJobLimit\): (\d) of 5 are", sweep.text())
    assert told and int(told.group(1)) >= PACKS - AT_MOST  # the probe may have had a place for a moment
    assert sweep.text().count("are submitted as places free up") <= 2  # once for each command
    assert sweep.again()[0] in PROBED  # no other step twice
    same_tables(sweep.study, expected)


def test_detached_a_limit_leaves_the_rest_to_the_same_command(
    cluster: Cluster,
    tmp_path: Path,
    expected: Path,
) -> None:
    arguments = [*ONE_EACH, "launcher.account=study", "detach=true"]
    sweep = Sweep(cluster, tmp_path / "detached", "limited", arguments, slow=0.0)
    assert sweep.ended() == 0, sweep.text()
    sweep.until(lambda: list(sweep.study.glob("slurm/*/answers/0.json")), "the probe's answer")
    left = PACKS
    while left:
        before = len(sweep.text())
        sweep.start()
        assert sweep.ended() == 0, sweep.text()
        told = re.search(r"(\d+) tasks are not submitted yet", sweep.text()[before:])
        left = int(told.group(1)) if told else 0
        assert left < PACKS
        done = PACKS - left
        sweep.until(
            lambda done=done: len(list(sweep.study.glob("records/*.json"))) == done, f"{done} records"
        )
        sweep.until(lambda: not cluster.ask("squeue", "-h", "-A", "study").stdout.strip(), "free places")
    sweep.start()
    assert sweep.ended() == 0 and f"{PACKS} of {PACKS} runs" in sweep.text(), sweep.text()
    assert sweep.text().count("not submitted yet") >= 2  # of which two at most are taken at a time
    assert sweep.again()[0] in PROBED
    same_tables(sweep.study, expected)
