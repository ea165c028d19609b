"""Two studies on one machine share it, in whatever order they come, go and die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.records.profiles import profile_of

from study.launchers import Capacity, local
from study.launchers.local import Local, Pool
from study.launchers.processes import machine, neighbours
from study.launchers.processes.neighbours import Place, Use, free_gpus, share_of_cores
from study.planning.jobs import Answer, Job, Probed, Trained
from study.settings import LauncherSettings

OTHER = """
import sys, time
from pathlib import Path
from study.launchers.processes.neighbours import Place
place = Place(Path(sys.argv[1]))
place.take(int(sys.argv[2]))
place.take_gpus(sys.argv[3:], 9, False)
print("there", flush=True)
sys.stdin.read()
"""


@contextmanager
def another_study(cores: int, *gpus: str, study: str = "results/other") -> Iterator[subprocess.Popen[str]]:
    """A process that uses so much of the machine, as long as the block lasts."""
    process = subprocess.Popen(
        [sys.executable, "-c", OTHER, study, str(cores), *gpus],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None and process.stdout.readline() == "there\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def own_registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STUDY_RUNNING", str(tmp_path / "running"))
    return tmp_path / "running"


@pytest.fixture
def many_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 16 cores, as far as this process knows."""
    monkeypatch.setattr(machine, "affinity", lambda: list(range(16)))
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    monkeypatch.setattr(machine, "memory_limit", lambda: None)
    monkeypatch.setattr(machine, "WORKER_GIB", 0.01)


def use(cores: int, given: int = 16, allowed: int = 16, job: str = "", pid: int = 1, first: int = 0) -> Use:
    return Use(pid, "results/x", cores, given, tuple(range(first, first + allowed)), job)


OWN = use(0)


@pytest.mark.parametrize("own,others,share", [
    (OWN, [], 16),
    (OWN, [use(6)], 10),  # what is free
    (OWN, [use(16)], 8),  # at least an even share
    (OWN, [use(8), use(8, pid=2)], 5),
    (use(0, given=1, allowed=1), [use(1, given=1, allowed=1)], 1),  # and at least one
    (use(0, given=2), [use(2, given=2)], 1),  # one quota of two cores for both
    (use(0, given=2, job="7"), [use(2, given=2, job="8")], 2),  # two jobs of two on sixteen cores
    (use(0, given=4, job="7"), [use(14)], 2),  # a stranger's cores are not free
    (use(0, allowed=2, given=2), [use(2, allowed=2, given=2, first=8)], 2),  # on cores of their own
])  # fmt: skip
def test_the_share_of_cores(own: Use, others: list[Use], share: int) -> None:
    assert share_of_cores(own, others) == share


def test_whoever_lives_is_seen_and_whoever_is_dead_is_not(own_registry: Path) -> None:
    place = Place(Path("results/mine"))
    assert place.neighbours() == []
    with another_study(2) as other:
        (seen,) = place.neighbours()
        assert (seen.pid, seen.study, seen.cores) == (other.pid, "results/other", 2)
        other.send_signal(signal.SIGKILL)
        other.wait()
        assert place.neighbours() == [] and not list(own_registry.glob("*.json"))
    place.take(1)
    place.take(2)
    assert place.neighbours() == [] and len(list(own_registry.glob("*.json"))) == 1  # not its own neighbour
    place.leave()
    assert not list(own_registry.glob("*.json"))


@pytest.mark.parametrize("damage", ["file", "unreadable", "elsewhere", "stuck"])
def test_without_a_registry_each_is_for_itself(
    damage: str, own_registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a help, never a condition: whatever is wrong with it, work goes on."""
    monkeypatch.setattr(neighbours, "LOCK_S", 0.05)
    if damage == "file":
        own_registry.write_text("")
    elif damage == "elsewhere":  # another user was there first
        monkeypatch.setattr(os, "getuid", lambda: 12345)
    else:
        own_registry.mkdir()
    place = Place(Path("results/mine"))
    if damage == "unreadable":
        (own_registry / "1-x.json").write_text("{")
    if damage == "stuck":
        import fcntl

        held = os.open(own_registry / "lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(held, fcntl.LOCK_EX)
    place.take(2)
    assert place.neighbours() == [] and place.take_gpus(["0"], 1, False) == ["0"]
    place.leave()


def test_a_new_study_takes_what_is_free_and_at_least_an_even_share(many_cores: None, tmp_path: Path) -> None:
    launcher = Local(LauncherSettings(device="cpu"))
    assert launcher.capacity(100) == Capacity(16, 1)
    place = Place(Path("results/other"))
    place.use = replace(place.use, pid=1)  # another's
    for theirs, ours in ((4, 12), (12, 8), (16, 8)):
        place.take(theirs)
        place._note(replace(place.use, pid=1))
        assert launcher.capacity(100) == Capacity(ours, 1) and launcher.capacity(2) == Capacity(2, ours // 2)
    assert Local(LauncherSettings(device="cpu", workers=16)).capacity(100).workers == 16  # as asked
    place.leave()


class StandIn:
    """A worker process that answers when it is told to."""

    def __init__(self, index: int) -> None:
        self.index, self.job, self.alive = index, None, False
        self.process = SimpleNamespace(wait=lambda: None, terminate=lambda: None)

    def give(self, job: Any) -> None:
        self.job = job


def test_cores_are_given_back_when_packs_end_and_taken_again(
    many_cores: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Pool, "_new_process", lambda self, index: StandIn(index))
    with Local(LauncherSettings(device="cpu")).open(tmp_path / "study", 100) as pool:
        jobs: list[Any] = [SimpleNamespace(number=i) for i in range(100)]

        def busy() -> int:
            return sum(worker.job is not None for worker in pool.processes)

        def one_ends() -> None:
            worker = next(w for w in pool.processes if w.job is not None)
            pool.answers.put((worker, Trained(("ok",))))
            next(answers)

        answers = pool.do(jobs)
        pool.answers.put((pool.processes[0], Trained(("ok",))))  # there when it starts to wait
        monkeypatch.setattr(pool.place, "neighbours", lambda: [])
        next(answers)
        assert busy() == 15
        one_ends()
        assert (
            busy() == 15 and pool.place.use.cores == 16
        )  # the next job is given when the next answer is asked
        monkeypatch.setattr(pool.place, "neighbours", lambda: [use(8, pid=9)])
        for _ in range(12):
            one_ends()
        assert pool.place.use.cores == 8 and busy() == 7
        monkeypatch.setattr(pool.place, "neighbours", lambda: [])
        one_ends()
        assert pool.place.use.cores == 16 and busy() == 15
    printed = capsys.readouterr().out
    assert printed == (
        "going on with 8 of 16 workers beside results/x (process 9)\n"
        "going on with 16 of 16 workers, alone on this machine again\n"
    )


def test_a_second_study_says_what_it_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cores = machine.cores()
    with another_study(cores) as other:
        with Local(LauncherSettings(device="cpu")).open(tmp_path / "study", 100) as pool:
            assert pool.capacity.workers * pool.capacity.threads == max(1, cores // 2)
            (seen,) = [u for u in _seen_by(tmp_path) if u.pid == os.getpid()]
            assert seen.cores == max(1, cores // 2)
        assert not [u for u in _seen_by(tmp_path) if u.pid == os.getpid()]
    expected = f"also at work on this machine: results/other (process {other.pid}); this study takes {max(1, cores // 2)} of {cores} cores\n"  # noqa: E501
    assert capsys.readouterr().out == expected


def _seen_by(folder: Path) -> list[Use]:
    """What another process sees."""
    place = Place(folder)
    mine, os_getpid = os.getpid(), os.getpid
    os.getpid = lambda: mine + 10**6  # type: ignore[assignment]
    try:
        return place.neighbours()
    finally:
        os.getpid = os_getpid


@pytest.fixture
def four_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    lines = [f"GPU {i}: NVIDIA H100 80GB HBM3 (UUID: GPU-{i}a{i}-77)" for i in range(4)]
    program = tmp_path / "bin" / "nvidia-smi"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine._uuids.cache_clear()
    yield
    machine._uuids.cache_clear()


def test_gpus_that_others_use_are_left_to_them(
    four_gpus: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = Local(LauncherSettings())
    assert machine.gpus() == ["0", "1", "2", "3"] and launcher.capacity(9).workers == 4
    monkeypatch.setattr(Pool, "_new_process", lambda self, index: StandIn(index))
    with another_study(1, "0", "GPU-2a2"):  # one by its number, one by the beginning of its name
        assert launcher.capacity(9).workers == 2
        with launcher.open(tmp_path / "study", 9) as pool:
            assert [pool.environment(i)["CUDA_VISIBLE_DEVICES"] for i in range(2)] == ["1", "3"]
            assert len(pool.processes) == 2
        assert "takes GPU 1, 3 of 0, 1, 2, 3, and " in capsys.readouterr().out
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-0a0-77,3")  # the same GPU under another name
        assert free_gpus(machine.gpus(), Place(Path()).neighbours()) == ["3"]


def test_without_a_free_gpu_a_study_waits_until_one_is_free(
    four_gpus: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pool, "_new_process", lambda self, index: StandIn(index))
    with another_study(1, "0", "1", "2", "3") as other:
        with Local(LauncherSettings(workers=1)).open(tmp_path / "shared", 9) as pool:  # as asked
            assert pool.devices == ["0"]
        waits = iter([lambda: None, lambda: (other.kill(), other.wait())])
        monkeypatch.setattr(local.time, "sleep", lambda _: next(waits)())
        with Local(LauncherSettings()).open(tmp_path / "study", 9) as pool:
            assert pool.devices == ["0"]  # one was planned for
    assert capsys.readouterr().out.count("waiting for a GPU: results/other (process ") == 1


PROFILE = profile_of(2, {1: 0.2, 2: 0.1})


@pytest.mark.parametrize("when,disturbed", [("never", False), ("before", True), ("after", True)])
def test_a_probe_beside_another_study_is_disturbed(
    when: str, disturbed: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pool, "_new_process", lambda self, index: StandIn(index))
    seen = {"never": [[], []], "before": [[use(1)], []], "after": [[], [use(1)]]}[when]
    jobs: list[Job] = [SimpleNamespace()]  # type: ignore[list-item]
    with Pool(LauncherSettings(device="cpu"), Capacity(1, 1), tmp_path) as pool:
        looks = iter(seen)
        monkeypatch.setattr(pool.place, "neighbours", lambda: next(looks))
        pool.answers.put((pool.processes[0], Probed(PROFILE)))
        answer: Answer = next(pool.do(jobs))[1]
    expected = "results/x (process 1) at work on this machine" if disturbed else ""
    assert answer == Probed(PROFILE, expected)
