"""A tracker costs no run, whatever it does: it raises, ends the process, hangs, or is not there."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from support.sweeps_under_test import SMALL

from study import sweep, tracking
from study.storage import records
from study.storage.rows import Circumstances, Identity, Outcome, RunRecord
from study.tracking import background
from study.tracking.background import Tracking, told


class Fake(tracking.Tracker):
    package = "json"

    def __init__(self, folder: Path, fault: BaseException | None = None, hangs: bool = False) -> None:
        super().__init__(folder)
        self.fault, self.hangs, self.seen = fault, hangs, []

    def log(self, record: RunRecord) -> None:
        if self.hangs:
            time.sleep(3600)
        if self.fault and self.seen:
            raise self.fault
        self.seen.append(record.identity.run_id)


def ended(folder: Path, pack: str, *run_ids: str) -> None:
    identities = [Identity(run_id, "s", "vtab", "mini", "lora", 1e-3, 0, {}) for run_id in run_ids]
    records.write(folder, pack, [RunRecord(each, Outcome("ok"), Circumstances()) for each in identities])


@pytest.fixture
def notes() -> list[str]:
    return []


def offer(monkeypatch: pytest.MonkeyPatch, tracker: Fake) -> None:
    monkeypatch.setattr(tracking, "load", lambda name, folder: tracker)
    monkeypatch.setattr(background.tracking, "load", lambda name, folder: tracker)


def test_runs_are_told_as_they_end_and_once(
    tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Fake(tmp_path)
    offer(monkeypatch, tracker)
    for packs in (["p", "q"], ["q"], ["r"]):
        with Tracking("wandb", tmp_path, notes.append) as tracked:
            for pack in packs:
                ended(tmp_path, pack, f"{pack}1", f"{pack}2")
                tracked.tell()
    assert tracker.seen == ["p1", "p2", "q1", "q2", "r1", "r2"] and notes == []
    assert told(tmp_path, "wandb") == set(tracker.seen)


@pytest.mark.parametrize("fault", [RuntimeError("no network"), SystemExit(3), KeyboardInterrupt()])
def test_a_tracker_that_raises_is_said_and_left_alone(
    fault: BaseException, tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tracker = Fake(tmp_path, fault)
    offer(monkeypatch, tracker)
    with Tracking("wandb", tmp_path, notes.append) as tracked:
        ended(tmp_path, "p", "p1", "p2")
        tracked.tell()
        tracked.tell()
    (note,) = notes
    assert type(fault).__name__ in note and f"python -m study.export {tmp_path} wandb" in note
    assert told(tmp_path, "wandb") == {"p1"}, "and what it was told of is known"


def test_a_tracker_that_hangs_is_not_waited_for_long(
    tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, Fake(tmp_path, hangs=True))
    monkeypatch.setattr(background, "PATIENCE_S", 0.2)
    with Tracking("wandb", tmp_path, notes.append) as tracked:
        ended(tmp_path, "p", "p1")
        tracked.tell()
    assert len(notes) == 1 and "took no run" in notes[0]


def test_a_stopped_sweep_does_not_wait_for_it(
    tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, Fake(tmp_path, hangs=True))
    with pytest.raises(KeyboardInterrupt), Tracking("wandb", tmp_path, notes.append) as tracked:
        ended(tmp_path, "p", "p1")
        tracked.tell()
        raise KeyboardInterrupt
    assert len(notes) == 1 and "stopped" in notes[0]


def test_without_a_tracker_nothing_is_begun(tmp_path: Path, notes: list[str]) -> None:
    with Tracking(None, tmp_path, notes.append) as tracked:
        tracked.tell()
    assert notes == [] and not (tmp_path / "tracking").exists()


@pytest.mark.slow
def test_a_sweep_beside_a_broken_tracker_ends_as_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    broken = Fake(tmp_path / "results" / "small", RuntimeError("no network"))
    offer(monkeypatch, broken)
    monkeypatch.setattr(tracking, "check", lambda name: None)
    assert sweep.main([*SMALL, "method=ether", "lr=1e-2", "track=wandb"]) == 0
    output = capsys.readouterr().out
    assert (
        "2 of 2 runs: 2 ok" in output and "wandb does not know all runs: RuntimeError: no network" in output
    )
