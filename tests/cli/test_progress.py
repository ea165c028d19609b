"""Progress: on a terminal a line per pack and a total, elsewhere plain lines; packs say how far they are."""

from __future__ import annotations

import dataclasses
import io
import os
import pty
import re
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console
from support.sweeps_under_test import SMALL

from study import status
from study.cli.live import clock, render
from study.cli.progress import Progress, counted
from study.planning.jobs import Provenance, TrainJob
from study.planning.profile import RunMapping
from study.planning.progress import Outlook, PackLeft, PackProgress, Tally
from study.planning.runs import Run
from study.settings import TaskSettings
from study.storage import checkpoints, files
from study.storage.checkpoints import Attempt, progress_of_packs


def job(folder: Path, seeds: range = range(2)) -> TrainJob:
    task = TaskSettings(name="vtab", model="shipped", data="digits", steps=10, batch_size=4)
    runs = tuple(Run(task, "lora", {"r": 8}, 1e-3, seed) for seed in seeds)
    return TrainJob(str(folder), runs, 5.0, RunMapping.LAYERS, 60.0, False, "s", Provenance("", "", False))


def test_elsewhere_than_on_a_terminal_a_line_per_pack(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = job(tmp_path), job(tmp_path, range(2, 4))
    tally = Tally(planned=5, run_steps_planned=50, run_steps=10, statuses=Counter(ok=1))
    with Progress(tmp_path, tally, workers=1) as progress:
        progress.begin([first, second])
        progress.add(first, ["ok", "diverged"])
        progress.lose(second, "gone")
    assert capsys.readouterr().out.splitlines() == [
        "3/5 runs: lora (r=8) 1 diverged",
        "2 runs of lora (r=8) have no result: gone",
    ]
    assert tally.lost == 2 and tally.run_steps == 30


def test_measuring_says_so_before_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    items = counted(iter("ab"), "measuring 2 methods", 2)
    assert next(items) == "a" and capsys.readouterr().out == "measuring 2 methods ...\n"
    assert list(items) == ["b"]


def drawn(outlook: Outlook) -> list[str]:
    console = Console(file=io.StringIO(), width=120, color_system=None)
    console.print(render(outlook))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_line_per_pack_and_a_total() -> None:
    at = PackProgress(3, 40, 150, 9.0, diverged=2, metric="accuracy", best=0.9123)
    running = (
        PackLeft("ether (blocks=4)", 3, 150, 60.0, at),
        PackLeft("lora", 1, 150, 9.0, PackProgress(1, 0, 150, 0.1)),
    )
    lines = drawn(Outlook(12, {"ok": 5, "diverged": 1, "failed": 1}, 2, 1200, 33750, 80.4, running))
    assert "ether (blocks=4)" in lines[0] and "step 40 of 150, best accuracy 0.912, 2 diverged" in lines[0]
    assert "1 run " in lines[1] and lines[1].rstrip().endswith("step 0 of 150")
    assert "7/12 runs" in lines[2]
    assert "1,200 of 33,750 run-steps, 3 diverged, 1 failed, 2 lost, about 1:20 left" in lines[2]


@pytest.mark.parametrize(
    "seconds,words", [(0, "0:00"), (9.6, "0:10"), (80, "1:20"), (3600, "1:00:00"), (90_000, "1 day, 1:00:00")]
)
def test_the_clock(seconds: float, words: str) -> None:
    assert clock(seconds) == words


def test_a_pack_says_how_far_it_is_but_not_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attempt = Attempt(tmp_path, ["a", "b"], 60.0)
    (name,) = checkpoints.unfinished_packs(tmp_path)
    said = PackProgress(2, 3, 10, 1.5, diverged=1, metric="accuracy", best=float("nan"))
    attempt.tell(lambda: said)
    (read,) = progress_of_packs(tmp_path).values()
    assert (
        dataclasses.replace(read, best=0.0) == dataclasses.replace(said, best=0.0) and read.best != read.best
    )
    attempt.tell(lambda: pytest.fail("too soon"))
    assert progress_of_packs(tmp_path, since=time.time() + 60) == {}
    monkeypatch.setattr(checkpoints, "TELL_S", 0.0)
    attempt.tell(lambda: dataclasses.replace(said, step=4))
    assert progress_of_packs(tmp_path)[name].step == 4
    attempt.close()
    assert progress_of_packs(tmp_path) == {}


def test_a_disk_that_is_full_costs_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> bool:
        raise files.CannotWrite("no space left")

    attempt = Attempt(tmp_path, ["a"], 60.0)
    monkeypatch.setattr(checkpoints, "write_atomically", full)
    attempt.tell(lambda: PackProgress(1, 1, 2, 0.1))


def test_what_another_version_or_half_a_write_left_is_passed_over(tmp_path: Path) -> None:
    for name, content in (("a", b"{"), ("b", b'{"new": 1}')):
        (tmp_path / "checkpoints" / name).mkdir(parents=True)
        (tmp_path / "checkpoints" / name / "progress.json").write_bytes(content)
    assert progress_of_packs(tmp_path) == {}


def terminal(words: list[str], folder: Path) -> subprocess.Popen[bytes]:
    """A command whose output goes to a terminal, whose other end is `stdout` here."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "120", "LINES": "30"}
    process = subprocess.Popen(
        [sys.executable, "-m", *words], cwd=folder, stdout=theirs, stderr=theirs, env=environment
    )
    os.close(theirs)
    process.stdout = os.fdopen(ours, "rb", buffering=0)
    return process


def shown(process: subprocess.Popen[bytes]) -> str:
    """All that a command draws, without its control sequences."""
    parts = []
    assert process.stdout is not None
    while True:
        try:
            part = process.stdout.read(65536)
        except OSError:  # how the end of a terminal reads
            break
        if not part:
            break
        parts.append(part)
    process.wait(timeout=60)
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(parts).decode())


@pytest.mark.slow
def test_a_sweep_on_a_terminal_and_another_terminal_that_watches(tmp_path: Path) -> None:
    """The watcher sees the same packs, and ends when the sweep does."""
    arguments = [*SMALL, "task.steps=160", "launcher.workers=1", "pack_size=6"]
    sweep = terminal(["study.sweep", *arguments], tmp_path)
    deadline = time.monotonic() + 300
    while not (tmp_path / "results" / "small" / "plan.json").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    watcher = terminal(["study.status", "small", "--watch"], tmp_path)
    watched, swept = shown(watcher), shown(sweep)
    assert sweep.returncode == 0 and watcher.returncode == 0, watched + swept
    assert re.search(r"measuring 2 methods on this machine ━+", swept)
    for text in (swept, watched):
        assert re.search(r"6 runs +[━╸╺]+ +step \d+ of 160, best accuracy \d\.\d+", text)
        assert re.search(r"[\d,]+ of 1,920 run-steps, about \d+:\d\d left", text)
    assert "12/12 runs" in swept and "12 of 12 runs: 12 ok" in swept
    assert "12 of 12 runs done: 12 ok" in watched
    assert status.listing(tmp_path / "results").split("  ") == [
        "small",
        "vtab (mini)",
        "12 of 12 runs",
        "complete",
    ]
