"""One session of a launcher for all rounds of a study: workers start once and keep the tasks they loaded."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from study import launchers
from study.launchers import Capacity, Session
from study.settings import SweepSettings


class KeptSession:
    """Opened when it is first asked for, and anew where the launcher's capacity has become another."""

    def __init__(self, folder: Path, settings: SweepSettings) -> None:
        self.folder, self.detach = folder, settings.detach
        self.launcher = launchers.load(settings.launcher)
        self._opened: tuple[Session, Capacity] | None = None
        self._stack = ExitStack()

    def __enter__(self) -> KeptSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def at_work(self, jobs: int) -> tuple[Session, Capacity]:
        """The session, and what it can do at a time.

        Args:
            jobs: how many there are at most.
        """
        capacity = self.launcher.capacity(jobs)
        if self._opened is None or self._opened[1] != capacity:
            self._stack.close()
            session = self._stack.enter_context(self.launcher.open(self.folder, jobs, self.detach))
            self._opened = session, capacity
        return self._opened
