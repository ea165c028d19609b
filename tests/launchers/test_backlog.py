"""A cluster that takes only so many tasks at a time: all are done, none twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from study import config
from study.errors import UsageError
from study.launchers import Detached, slurm
from study.launchers.cluster import backlog, squeue
from study.launchers.cluster.batches import batch_name, write_answer
from study.launchers.cluster.squeue import Task
from study.launchers.slurm import Queue
from study.planning.jobs import Job, Lost, Provenance, Trained, TrainJob, job_key
from study.planning.runs import plan_runs
from study.settings import LauncherSettings

RUNS = plan_runs(config.load("lr_grid", ["method=ether", "lr=1e-3", "seeds=11"]))
JOBS: list[Job] = [
    TrainJob("x", (run,), 1.0, False, 60.0, False, "lr_grid", Provenance("", "", False)) for run in RUNS
]
KEYS = [job_key(job) for job in JOBS]
PER_USER = (
    "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: "
    "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
)
UNNAMED = PER_USER.split("\n")[1]
QUEUE_FULL = "sbatch: error: Batch job submission failed: Resource temporarily unavailable"
ARRAY_SIZE = "sbatch: error: Batch job submission failed: Invalid job array specification"


class Cluster:
    """Takes `places` tasks at a time and arrays of `largest`; at every squeue the oldest task is done."""

    def __init__(self, places: int, words: str = PER_USER, largest: int = 1000, others: bool = False) -> None:
        self.places, self.words, self.largest, self.others = places, words, largest, others
        self.live: dict[tuple[str, int], str] = {}
        self.answer_files: dict[tuple[str, int], str] = {}
        self.submitted: list[int] = []
        self.done: Counter[str] = Counter()
        self.most = self.refusals = 0
        self.working = True

    def use(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(slurm, "ASK_S", 0.0)
        monkeypatch.setattr(slurm, "LOOK_S", 0.001)
        monkeypatch.setattr(squeue, "tasks", self.tasks)
        monkeypatch.setattr(squeue, "has_jobs", lambda: self.others or bool(self.live))
        monkeypatch.setattr(squeue, "cause", lambda *_: "CANCELLED")

    def executor(self, _: LauncherSettings, folder: Path, batch: str) -> Any:
        def map_array(_: Any, answers: list[str], jobs: list[Any]) -> list[SimpleNamespace]:
            words = ARRAY_SIZE if len(jobs) > self.largest else ""
            if len(self.live) + len(jobs) > self.places:
                words = self.words
            if words:
                self.refusals += 1
                raise Exception(words)
            keys = json.loads((folder / batch / "batch.json").read_text())
            for index, (key, path) in enumerate(zip(keys, answers, strict=True)):
                self.live[batch, index], self.answer_files[batch, index] = key, path
            self.submitted.append(len(jobs))
            self.most = max(self.most, len(self.live))
            return [SimpleNamespace(job_id=f"{len(self.submitted)}_0")]

        return SimpleNamespace(map_array=map_array)

    def tasks(self, names: list[str]) -> list[Task]:
        listed = [
            Task(f"7_{index}", batch_name(batch), index, "RUNNING", "None", "n", "1:00")
            for batch, index in self.live
            if batch_name(batch) in names
        ]
        if self.live and self.working:
            task = next(iter(self.live))
            self.done[self.live.pop(task)] += 1
            write_answer(Path(self.answer_files[task]), Trained(("ok",)))
        return listed

    def queue(self, folder: Path, **settings: Any) -> Queue:
        opened = Queue(LauncherSettings(name="slurm", **settings), folder, make_executor=self.executor)
        return opened.__enter__()


@pytest.mark.parametrize("words", [PER_USER, UNNAMED, QUEUE_FULL])
@pytest.mark.parametrize("places", [1, 3, 10, 11])
def test_everything_is_done_once_over_a_limit(
    words: str,
    places: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    cluster = Cluster(places, words)
    cluster.use(monkeypatch)
    answers = [(job_key(job), answer) for job, answer in cluster.queue(tmp_path).do(JOBS)]
    assert dict(answers) == dict.fromkeys(KEYS, Trained(("ok",))) and len(answers) == len(KEYS)
    assert cluster.done == Counter(KEYS) and cluster.most == places  # every place was used
    printed = capsys.readouterr().out
    assert printed.count("are submitted as places free up") == (places < 11)
    if places == 3:
        limit = "QOSMaxSubmitJobPerUserLimit)" if words == PER_USER else "Batch job submission failed: "
        assert f"Slurm takes no more tasks now ({limit}" in printed
        assert ": 8 of 11 are submitted" in printed
    assert not [
        path for path in (tmp_path / "slurm").glob("*/batch.json") if not json.loads(path.read_text())
    ]


def test_a_limit_on_the_size_of_arrays_is_not_one_on_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(1000, largest=4)
    cluster.use(monkeypatch)
    assert len(list(cluster.queue(tmp_path).do(JOBS))) == len(JOBS)
    assert cluster.done == Counter(KEYS) and cluster.refusals == 2  # 11 and 5; then 2 at a time to the end
    assert "places" not in capsys.readouterr().out


def test_a_refusal_of_what_was_just_taken_is_about_the_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sites refuse in words of their own, through a plugin."""
    cluster = Cluster(4, "sbatch: error: You have enough jobs here, dear user")
    cluster.use(monkeypatch)
    assert len(list(cluster.queue(tmp_path, max_array=4).do(JOBS))) == len(JOBS)
    assert cluster.done == Counter(KEYS)
    assert "Slurm takes no more tasks now (You have enough jobs here, dear user)" in capsys.readouterr().out


def test_what_no_number_would_change_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in ("sbatch: error: Batch job submission failed: Invalid account", PER_USER.replace("MaxSubmitJobPerUser", "MaxWallDurationPerJob")):  # fmt: skip  # noqa: E501
        cluster = Cluster(0, words)
        cluster.use(monkeypatch)
        with pytest.raises(UsageError, match="^launcher=slurm: "):
            next(cluster.queue(tmp_path).do(JOBS))
        assert cluster.refusals == 1


def test_a_limit_that_lets_nothing_through_is_refused_and_one_that_others_reached_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster = Cluster(0)
    cluster.use(monkeypatch)
    with pytest.raises(
        UsageError, match="takes none of the tasks .QOSMaxSubmitJobPerUserLimit.*launcher.qos"
    ):
        next(cluster.queue(tmp_path).do(JOBS))
    monkeypatch.setattr(backlog, "AGAIN_S", 0.0)
    for words, others in ((PER_USER, True), (PER_USER.replace("QOSMax", "AssocGrp"), False)):
        cluster = Cluster(0, words, others=others)
        cluster.use(monkeypatch)
        asked = iter(range(10**6))

        def tasks(names: list[str], cluster: Cluster = cluster, asked: Any = asked) -> list[Task]:
            cluster.places = 2 if next(asked) > 3 else 0  # another's jobs end
            return cluster.tasks(names)

        monkeypatch.setattr(squeue, "tasks", tasks)
        assert len(list(cluster.queue(tmp_path / words[:30] / str(others)).do(JOBS))) == len(JOBS)
        assert cluster.done == Counter(KEYS)


def test_detached_the_same_command_goes_on_with_what_was_not_submitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster(4)
    cluster.use(monkeypatch)
    cluster.working = False

    def detached() -> str:
        opened = cluster.queue(tmp_path)
        opened.detach = True
        with pytest.raises(Detached):
            next(opened.do([job for job in JOBS if not cluster.done[job_key(job)]]))
        return capsys.readouterr().out

    assert "7 tasks are not submitted yet: the same command submits them" in detached()
    assert "7 tasks are not submitted yet" in detached() and sum(cluster.submitted) == 4
    cluster.working = True
    for _ in range(3):
        squeue.tasks([])  # three end
    cluster.working = False
    assert "4 tasks are not submitted yet" in detached() and sum(cluster.submitted) == 7
    cluster.working = True
    rest = [job for job in JOBS if not cluster.done[job_key(job)]]
    assert len(list(cluster.queue(tmp_path).do(rest))) == len(rest)
    assert cluster.done == Counter(KEYS)


@pytest.mark.parametrize("killed_after", [1, 2, 3, 5])
def test_a_coordinator_that_is_killed_between_two_submissions_leaves_nothing_twice(
    killed_after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between what Slurm took and our knowing of it."""
    cluster = Cluster(3)
    cluster.use(monkeypatch)
    calls = iter(range(1, 10**6))

    class Killed(BaseException):
        pass

    def executor(settings: LauncherSettings, folder: Path, batch: str) -> Any:
        made = cluster.executor(settings, folder, batch)

        def map_array(*arguments: Any) -> Any:
            taken = made.map_array(*arguments)
            if next(calls) == killed_after:
                raise Killed
            return taken

        return SimpleNamespace(map_array=map_array)

    first = cluster.queue(tmp_path)
    first.make_executor = executor
    ended = set()
    with pytest.raises(Killed):
        for job, _ in first.do(JOBS):
            ended.add(job_key(job))
    rest = [job for job in JOBS if not cluster.done[job_key(job)]]  # those without records
    answers = list(cluster.queue(tmp_path).do(rest))
    assert not [answer for _, answer in answers if isinstance(answer, Lost)]
    assert cluster.done == Counter(KEYS)
