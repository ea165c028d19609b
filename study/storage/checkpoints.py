"""What a pack in training leaves behind, so that it goes on bit for bit where it was.

    results/<name>/checkpoints/<pack_id>/runs.json              the pack's run_ids
    results/<name>/checkpoints/<pack_id>/attempt-<n>            empty; claimed by one process
    results/<name>/checkpoints/<pack_id>/<step>-<n>.checkpoint  sealed safetensors, two generations
    results/<name>/checkpoints/<pack_id>/progress.json          how far it has come, for those who watch

Attempts are numbered. One that finds a later attempt, or that its pack is done, stops: two processes
may work on one pack for a while (a node that is cut off and the node its job was given to), but only
the latest goes on, and a run's first finished record wins. No pickle is read.

A checkpoint belongs to its runs: a pack that is cut out of another one goes on from the other's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from study.planning.packs import pack_id
from study.planning.progress import PackProgress
from study.storage import paused, state_file
from study.storage.files import CannotWrite, from_json, to_json, write_atomically
from study.storage.state_file import State

GENERATIONS = 2
RUNS, PROGRESS = "runs.json", "progress.json"

TELL_S = 1.0
"""Seconds between two times that a pack says how far it has come."""


class Stopped(Exception):
    """The attempt was asked to stop; all it has done is in its last checkpoint."""


class Superseded(Exception):
    """A later attempt has the pack, or it is done: nothing of this one's is needed any more."""


class Progress(NamedTuple):
    """How far an unfinished pack has come: how often it was begun, and the step of its last checkpoint.

    Attributes:
        run_ids: of the pack; none where an older version began it.
    """

    attempts: int
    step: int
    run_ids: tuple[str, ...] = ()


class Saved(NamedTuple):
    """A checkpoint, and which of its pack's runs are wanted of it, by their places."""

    state: State
    rows: tuple[int, ...]

    @property
    def step(self) -> int:
        step: int = self.state[1]["step"]
        return step


def unfinished_packs(folder: Path) -> dict[str, Progress]:
    """The packs that were begun and have no records yet, by pack_id."""
    progress = {}
    for pack in (folder / "checkpoints").glob("*/"):
        steps = [int(path.name.split("-")[0]) for path in pack.glob("*.checkpoint")]
        attempts = len(list(pack.glob("attempt-*")))
        progress[pack.name] = Progress(attempts, max(steps, default=0), _run_ids(pack))
    return progress


def progress_of_packs(folder: Path, since: float = 0.0) -> dict[str, PackProgress]:
    """How far packs in training have come, by pack_id, as they last said.

    Args:
        since: in seconds since 1970; what was said before is passed over.
    """
    found = {}
    for path in (folder / "checkpoints").glob(f"*/{PROGRESS}"):
        with contextlib.suppress(
            OSError, ValueError, TypeError
        ):  # it ends this moment, or is of another version
            if path.stat().st_mtime >= since:
                found[path.parent.name] = PackProgress(**from_json(path.read_bytes()))
    return found


def forget(folder: Path, finished: Iterable[str]) -> None:
    """Removes what is left of packs whose runs are all finished, perhaps in other packs."""
    done = set(finished)
    for name, progress in unfinished_packs(folder).items():
        if progress.run_ids and done.issuperset(progress.run_ids):
            shutil.rmtree(folder / "checkpoints" / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        (folder / "checkpoints").rmdir()


def _run_ids(pack: Path) -> tuple[str, ...]:
    try:
        return tuple(from_json((pack / RUNS).read_bytes()))
    except (OSError, ValueError):
        return ()


class Attempt:
    """One attempt at a pack.

    Args:
        run_ids: of the pack, in its order.
        every_s: seconds between checkpoints.
        stop: asked after every step; once it is true, the attempt saves and raises `Stopped`.

    Attributes:
        number: 1 for the first.

    Raises:
        CannotWrite: when it cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        run_ids: Sequence[str],
        every_s: float,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.run_ids = tuple(run_ids)
        self.folder = folder / "checkpoints" / pack_id(run_ids)
        self.every_s, self.stop = every_s, stop
        before = [int(path.name.removeprefix("attempt-")) for path in self.folder.glob("attempt-*")]
        self.number = 1 + max(before, default=0)
        while not write_atomically(self._claim(self.number), b"", replace=False):
            self.number += 1
        write_atomically(self.folder / RUNS, to_json(self.run_ids))
        self._saved_at = time.monotonic()
        self._told_at = -TELL_S

    def _claim(self, number: int) -> Path:
        return self.folder / f"attempt-{number}"

    def load(self) -> list[Saved]:
        """Of which these runs go on, together: in their order, all at one step; nothing if from the start.

        It is the pack's own last checkpoint, or else that of a pack which these runs were cut out of; or each
        run's from where it was paused at a rung, if that is further. Damaged ones are set aside with a
        message.
        """
        saved = self._checkpoint()
        kept = paused.states(self.folder.parent.parent, self.run_ids)
        if kept and (saved is None or saved.step <= kept[0][1]["step"]):
            return [Saved(state, (0,)) for state in kept]
        return [saved] if saved else []

    def _checkpoint(self) -> Saved | None:
        if (state := _last_state(self.folder)) is not None:
            return Saved(state, tuple(range(len(self.run_ids))))
        others = unfinished_packs(self.folder.parent.parent).items()
        for name, progress in sorted(others, key=lambda other: -other[1].step):
            if name == self.folder.name or not set(self.run_ids) <= set(progress.run_ids):
                continue
            if (state := _last_state(self.folder.parent / name)) is not None:
                return Saved(state, tuple(progress.run_ids.index(run_id) for run_id in self.run_ids))
        return None

    def tell(self, progress: Callable[[], PackProgress]) -> None:
        """To be called after every step: says for those who watch how far the pack is, when it is time to.

        That it cannot be said costs no run: a full disk is for `keep` and the records to find.
        """
        if time.monotonic() - self._told_at >= TELL_S:
            with contextlib.suppress(CannotWrite):
                write_atomically(self.folder / PROGRESS, to_json(dataclasses.asdict(progress())))
            self._told_at = time.monotonic()

    def keep(self, step: int, state: Callable[[], State]) -> None:
        """To be called after every step: saves when it is time to.

        Raises:
            Stopped: after saving, if the attempt was asked to stop.
            Superseded: if the pack is another attempt's by now.
        """
        stop = self.stop()
        if stop or time.monotonic() - self._saved_at >= self.every_s:
            self.save(step, state())
            self._saved_at = time.monotonic()
        if stop:
            raise Stopped

    def save(self, step: int, state: State) -> None:
        if not self._claim(self.number).exists() or self._claim(self.number + 1).exists():
            raise Superseded
        state_file.write(self.folder / f"{step:09d}-{self.number}.checkpoint", state)
        for old in sorted(self.folder.glob("*.checkpoint"))[:-GENERATIONS]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """The pack's records are written: nothing of it is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()  # when it was the last


def _last_state(pack: Path) -> State | None:
    for path in sorted(pack.glob("*.checkpoint"), reverse=True):
        if (state := state_file.read(path, "Going on from the one before.")) is not None:
            return state
    return None
