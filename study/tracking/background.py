"""Tells a tracker of runs in a thread of its own, so that it can be slow, wrong or away at no run's cost."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from study import tracking
from study.errors import first_line
from study.storage import records
from study.storage.rows import RunRecord

PATIENCE_S = 60.0
"""How long the command waits at its end for the tracker, after the last time that it took a run."""


def told(folder: Path, tracker: str) -> set[str]:
    """run_ids of a study that a tracker has been told of."""
    path = _list(folder, tracker)
    return set(path.read_text().split()) if path.exists() else set()


def _list(folder: Path, tracker: str) -> Path:
    """A run_id per line; one that was cut off by a kill is no run's, so that its run is told again."""
    return folder / "tracking" / f"{tracker}.told"


def tell(
    tracker: tracking.Tracker, name: str, folder: Path, ended: Iterable[RunRecord]
) -> Iterator[RunRecord]:
    """Tells a tracker of the runs that it does not know yet, and yields each when it knows it.

    Raises:
        Exception: whatever the tracker raises; it knows the runs before that.
    """
    known = told(folder, name)
    for record in ended:
        if record.identity.run_id not in known:
            tracker.log(record)
            with _list(folder, name).open("a") as file:
                file.write(f"\n{record.identity.run_id}\n")  # also behind a line that was cut off
            yield record


class Tracking:
    """A study's runs as they end, told to a tracker; without one, nothing.

    A tracker that raises is left alone from then on, and so is one that takes no run for PATIENCE_S when all
    else is done. Both are said, with the command that catches up.

    Args:
        name: of the tracker; None for none.
        folder: the study's.
        note: prints a line.
    """

    def __init__(self, name: str | None, folder: Path, note: Callable[[str], None]) -> None:
        self.name, self.folder, self.note = name, folder, note
        self._news: queue.Queue[bool] = queue.Queue()
        self._took_one = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._failure = ""

    def __enter__(self) -> Tracking:
        if self.name:
            self._thread.start()
        return self

    def tell(self) -> None:
        """More runs may have ended."""
        if self.name:
            self._news.put(True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if not self.name:
            return
        self._news.put(False)
        while self._thread.is_alive() and kind is None:
            self._took_one.clear()
            self._thread.join(PATIENCE_S)
            if self._thread.is_alive() and not self._took_one.is_set():
                self._failure = f"it took no run for {PATIENCE_S:.0f} s"
                break
        if self._failure or (kind is not None and self._thread.is_alive()):
            reason = self._failure or "the sweep was stopped"
            again = f"python -m study.export {self.folder} {self.name}"
            self.note(f"{self.name} does not know all runs: {reason}; tell it with: {again}")

    def _work(self) -> None:
        assert self.name is not None
        read: set[Path] = set()
        try:
            tracker = tracking.load(self.name, self.folder)
            more = True
            while more:
                more = self._news.get()
                for path in sorted(set((self.folder / "records").glob("*.json")) - read):
                    read.add(path)
                    pack = records.read(path)
                    ended = (RunRecord.from_json(content) for content in (pack.records() if pack else ()))
                    for _ in tell(tracker, self.name, self.folder, ended):
                        self._took_one.set()
                    self._took_one.set()
        except BaseException as error:  # a tracker may even call sys.exit
            self._failure = f"{type(error).__name__}: {first_line(error)}"
