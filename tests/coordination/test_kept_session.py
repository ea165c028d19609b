"""A study's rounds share one session, as long as the launcher can do as much as before."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import pytest

from study import config, launchers
from study.coordination.kept_session import KeptSession
from study.launchers import Capacity


class Opened:
    def __init__(self, note: Callable[[str], None], name: str) -> None:
        self.note, self.name = note, name

    def __enter__(self) -> Opened:
        self.note(f"{self.name} opened")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.note(f"{self.name} closed" + (f" by {kind.__name__}" if kind else ""))


class StandIn:
    """A launcher that has a worker per job, up to two."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def capacity(self, jobs: int) -> Capacity:
        return Capacity(min(2, jobs), 1)

    def open(self, folder: Path, jobs: int, detach: bool) -> Opened:
        return Opened(self.notes.append, f"session of {jobs}")


SETTINGS = config.load("lr_grid", [])


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    made = StandIn()
    monkeypatch.setattr(launchers, "load", lambda settings: made)
    return made


def test_it_is_opened_when_needed_and_kept_while_the_capacity_is_the_same(
    stand_in: StandIn, tmp_path: Path
) -> None:
    with KeptSession(tmp_path, SETTINGS) as kept:
        assert stand_in.notes == []
        first, capacity = kept.at_work(40)
        assert capacity.workers == 2 and kept.at_work(13)[0] is first
        assert kept.at_work(1)[0] is not first  # what is left is for one worker
        assert stand_in.notes == ["session of 40 opened", "session of 40 closed", "session of 1 opened"]
    assert stand_in.notes[-1] == "session of 1 closed"


def test_an_interrupt_reaches_the_session_which_lets_its_workers_save(
    stand_in: StandIn, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt), KeptSession(tmp_path, SETTINGS) as kept:
        kept.at_work(3)
        raise KeyboardInterrupt
    assert stand_in.notes[-1] == "session of 3 closed by KeyboardInterrupt"
