"""The Slurm launcher without Slurm: what it reads from squeue, and how it keeps track of its tasks.

Sweeps on a real cluster: tests/slurm.
"""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from study import config
from study.coordination.folder import tidy_folder
from study.coordination.prefetch import PREFETCHED, stay_offline_if_prefetched
from study.errors import UsageError
from study.launchers import Detached, slurm
from study.launchers.cluster import squeue, submission
from study.launchers.cluster.batches import ArrayTask, Batches, batch_name, read_answer, write_answer
from study.launchers.cluster.squeue import SlurmAway, Task
from study.launchers.cluster.submission import snapshot, submit
from study.launchers.processes.machine import worker_environment
from study.launchers.slurm import Queue
from study.paths import PACKAGE
from study.planning.jobs import (
    CannotStore,
    Died,
    Job,
    Lost,
    Probed,
    Provenance,
    Refused,
    Trained,
    TrainJob,
    job_key,
)
from study.planning.profile import Profile, RunMapping
from study.planning.runs import plan_runs
from study.settings import LauncherSettings
from study.storage.files import to_json, write_atomically
from study.training import node

RUNS = plan_runs(config.load("lr_grid", ["method=ether", "lr=1e-3", "seeds=3"]))
JOBS: list[Job] = [
    TrainJob("x", (run,), 1.0, False, 60.0, False, "lr_grid", Provenance("", "", False)) for run in RUNS
]


def task(index: int, state: str, reason: str = "None", batch: str = "") -> Task:
    return Task(f"7_{index}", batch_name(batch), index, state, reason, "gpu1", "1:00")


class Cluster:
    """Takes submissions; its tasks are in the states it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.submitted: list[tuple[str, list[str], list[Any]]] = []
        self.states: dict[int, tuple[str, str]] = {}
        self.failures: list[Exception] = []
        monkeypatch.setattr(slurm, "ASK_S", 0.05)
        monkeypatch.setattr(slurm, "LOOK_S", 0.01)
        monkeypatch.setattr(squeue, "tasks", self.tasks)
        monkeypatch.setattr(squeue, "cause", lambda known, _: known.state if known else "forgotten")

    def executor(self, _: LauncherSettings, __: Path, batch: str) -> Any:
        def map_array(_: Any, answers: list[str], jobs: list[Any]) -> list[SimpleNamespace]:
            if self.failures:
                raise self.failures.pop(0)
            self.submitted.append((batch, answers, jobs))
            return [SimpleNamespace(job_id="7_0")]

        return SimpleNamespace(map_array=map_array)

    def tasks(self, names: list[str]) -> list[Task]:
        batches = [batch for batch, *_ in self.submitted if batch_name(batch) in names]
        return [task(i, *state, batch) for batch in batches for i, state in self.states.items()]

    def answer(self, index: int, statuses: list[str]) -> None:
        write_answer(Path(self.submitted[-1][1][index]), Trained(tuple(statuses)))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    return Cluster(monkeypatch)


def queue(cluster: Cluster, folder: Path, **settings: Any) -> Queue:
    opened = Queue(LauncherSettings(name="slurm", **settings), folder, make_executor=cluster.executor)
    return opened.__enter__()


def submit_to(cluster: Cluster, folder: Path, jobs: list[Job]) -> None:
    opened = queue(cluster, folder)
    submit(opened.batches, jobs, opened.settings, cluster.executor)


@pytest.mark.parametrize("line,expected", [
    ("12_3|ether-study-ab|3|RUNNING|None|gpu7|1:02:03",
     Task("12_3", "ether-study-ab", 3, "RUNNING", "None", "gpu7", "1:02:03")),
    ("13|ether-study-cd|N/A|PENDING|JobHeldUser||UNLIMITED",
     Task("13", "ether-study-cd", 0, "PENDING", "JobHeldUser", "", "UNLIMITED")),
])  # fmt: skip
def test_a_line_of_squeue(line: str, expected: Task) -> None:
    assert squeue.parse(line) == expected


def test_what_is_held_and_what_lives() -> None:
    assert task(0, "PENDING", "JobHeldUser").held == "JobHeldUser"
    assert task(0, "PENDING", "launch failed requeued held").held == "launch failed requeued held"
    for reason in ("Priority", "Resources", "BeginTime", "JobArrayTaskLimit"):
        assert not task(0, "PENDING", reason).held
    assert not task(0, "RUNNING", "whatever").held
    for state in ("PENDING", "RUNNING", "COMPLETING"):
        assert task(0, state).live
    for state in ("CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "COMPLETED", "PREEMPTED"):
        assert not task(0, state).live


@pytest.mark.parametrize("code,words", [
    ("0:0", ""), ("1:0", ", exit code 1"), ("0:9", ", killed by SIGKILL"), ("137:0", ", killed by SIGKILL"),
    ("143:0", ", killed by SIGTERM"), ("", ""),
])  # fmt: skip
def test_exit_codes_in_words(code: str, words: str) -> None:
    assert squeue._exit(code) == words


def test_every_job_gets_one_answer(cluster: Cluster, tmp_path: Path) -> None:
    """Done; lost, with the cause; out of memory. Arrays are cut at max_array."""
    answers = queue(cluster, tmp_path, max_array=2).do(JOBS)
    cluster.states = {0: ("RUNNING", "None"), 1: ("OUT_OF_MEMORY", "")}
    job, answer = next(answers)
    assert [len(jobs) for *_, jobs in cluster.submitted] == [2, 1]
    assert job is JOBS[1] and isinstance(answer, Died) and answer.code == -signal.SIGKILL
    cluster.answer(0, ["ok"])  # of the second array: c
    assert next(answers) == (JOBS[2], Trained(("ok",)))
    cluster.states = {0: ("CANCELLED", "")}
    job, answer = next(answers)
    assert job is JOBS[0] and isinstance(answer, Lost) and "CANCELLED" in answer.cause
    assert not list(answers)


def test_a_task_that_is_hidden_for_a_moment_is_not_lost(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a job is requeued, one squeue may lack it."""
    answers = queue(cluster, tmp_path).do(JOBS[:1])
    shown = iter([False, True, False, True])

    def tasks(_: list[str]) -> list[Task]:
        here = next(shown, None)
        if here is None:
            cluster.answer(0, ["ok"])
        return [task(0, "RUNNING", batch=cluster.submitted[0][0])] if here is not False else []

    monkeypatch.setattr(squeue, "tasks", tasks)
    assert [answer for _, answer in answers] == [Trained(("ok",))]


def test_a_second_coordinator_attaches_and_submits_nothing(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(Detached):
        detaching = queue(cluster, tmp_path)
        detaching.detach = True
        next(detaching.do(JOBS))
    cluster.states = {i: ("RUNNING", "None") for i in range(3)}
    answers = queue(cluster, tmp_path).do(JOBS)
    for index in (2, 0, 1):
        cluster.answer(index, ["ok"])
    assert {job_key(job) for job, _ in answers} == {job_key(job) for job in JOBS}
    assert len(cluster.submitted) == 1
    cluster.states = {}  # all gone without records, say: what is asked again is submitted again
    with pytest.raises(Detached):
        again = queue(cluster, tmp_path)
        again.detach = True
        next(again.do(JOBS[:1]))
    assert len(cluster.submitted) == 2


def test_a_refusal_is_one_line_and_an_absent_controller_is_waited_for(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    monkeypatch.setattr(submission.subprocess, "run", lambda *_, **__: None)
    gone = Exception("sbatch: error: Batch job submission failed: Unable to contact slurm controller")
    cluster.failures = [gone, gone]
    submit_to(cluster, tmp_path, JOBS)
    assert len(cluster.submitted) == 1 and capsys.readouterr().out.count("trying again") == 2
    cluster.failures = [Exception("sbatch: error: invalid account\nsbatch: error: Batch job submission failed: Invalid account or account/partition combination specified")]  # fmt: skip  # noqa: E501
    with pytest.raises(UsageError, match="^launcher=slurm: Batch job submission failed: Invalid account"):
        submit_to(cluster, tmp_path, JOBS)
    assert len(list((tmp_path / "slurm").glob("*/batch.json"))) == 1  # the refused one left nothing


def test_slurm_that_does_not_answer_is_no_reason_to_give_up(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    answers = queue(cluster, tmp_path).do(JOBS[:1])
    asked = []

    def away(_: list[str]) -> list[Task]:
        asked.append(1)
        if len(asked) == 5:
            cluster.answer(0, ["ok"])
        raise SlurmAway("squeue: Unable to contact slurm controller")

    monkeypatch.setattr(squeue, "tasks", away)
    assert [answer for _, answer in answers] == [Trained(("ok",))]
    assert capsys.readouterr().out.count("waiting for Slurm") == 1


def test_the_snapshot_is_the_code_of_the_moment(tmp_path: Path) -> None:
    copy = snapshot(tmp_path)
    package = PACKAGE
    for path in package.rglob("*.py"):
        assert (copy / "study" / path.relative_to(package)).read_bytes() == path.read_bytes()
    assert snapshot(tmp_path) == copy
    assert (copy / "study/tasks/checkpoints/vtab/model.safetensors").exists()


def test_a_task_knows_when_its_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(time.time() + 100))
    deadline = node.Deadline()
    assert not deadline.passed()
    assert deadline.at - time.monotonic() == pytest.approx(80, abs=1)  # a fifth, at most a minute, is kept
    monkeypatch.setenv("SLURM_JOB_END_TIME", str(time.time() + 36000))
    assert node.Deadline().at - time.monotonic() == pytest.approx(36000 - 60, abs=1)
    deadline.signalled(signal.SIGUSR2, None)
    assert deadline.passed() and not deadline.terminated
    deadline.signalled(signal.SIGTERM, None)
    assert deadline.terminated


def test_the_batch_file_is_plain_json(cluster: Cluster, tmp_path: Path) -> None:
    submit_to(cluster, tmp_path, JOBS)
    (path,) = (tmp_path / "slurm").glob("*/batch.json")
    assert json.loads(path.read_text()) == [job_key(job) for job in JOBS]
    assert (tmp_path / "slurm").stat().st_mode & 0o777 == 0o700


def test_after_a_prefetch_workers_need_no_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    (tmp_path / PREFETCHED).touch()
    stay_offline_if_prefetched(tmp_path)
    assert worker_environment(1, None, tmp_path)["HF_HUB_OFFLINE"] == "1"


def test_what_a_living_task_is_writing_is_left_alone(tmp_path: Path) -> None:
    """A coordinator that attaches tidies up, but not under the hands of tasks on other nodes."""
    settings = config.load("lr_grid", [])
    new, old = tmp_path / "records" / ".new.json.tmp", tmp_path / "records" / ".old.json.tmp"
    new.parent.mkdir()
    for path, age_s in ((new, 0), (old, 7200)):
        path.touch()
        os.utime(path, (time.time() - age_s,) * 2)
    (tmp_path / "slurm").mkdir()
    tidy_folder(tmp_path, settings)
    assert new.exists() and not old.exists()
    (tmp_path / "slurm").rmdir()
    tidy_folder(tmp_path, settings)
    assert not new.exists()


def test_answers_of_tasks_that_were_submitted_by_an_older_version(tmp_path: Path) -> None:
    """The code that runs is that of the submission; it may be older than what attaches."""
    answers = Batches(tmp_path)
    profile = {"unpackable": "", "pack_size": 3, "step_seconds": {"3": 1.0}, "measure_seconds": 1.0,
               "parameters": 5, "numbers": 6, "saved_mb": 1.0, "whole": True}  # fmt: skip
    older = [{"statuses": ["ok", "failed"]}, {"profile": profile}, {"refused": "why"}, {"error": "disk full"}]
    for index, content in enumerate(older):
        write_atomically(answers.answer_file(ArrayTask("b", index)), to_json(content))
    trained, probed, refused, full = (answers.answer(ArrayTask("b", index)) for index in range(4))
    assert trained == Trained(("ok", "failed")) and refused == Refused("why")
    assert full == CannotStore("disk full")
    assert isinstance(probed, Probed) and probed.profile == Profile.from_json(profile)
    assert probed.profile.mapping is RunMapping.MODEL and probed.profile.step_seconds == {3: 1.0}
    assert answers.answer(ArrayTask("b", 4)) is None
    write_answer(tmp_path / "new.json", Died(1, "x"))
    assert read_answer(tmp_path / "new.json") == Died(1, "x")
