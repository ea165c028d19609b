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
from typing import Any, NamedTuple

from study.planning.packs import pack_id
from study.planning.progress import PackProgress
from study.storage.files import (
    CannotWrite,
    from_json,
    quarantine,
    sealed,
    to_json,
    unseal,
    write_atomically,
)

GENERATIONS = 2
RUNS, PROGRESS = "runs.json", "progress.json"

TELL_S = 1.0
"""Seconds between two times that a pack says how far it has come."""

State = tuple[dict[str, Any], dict[str, Any]]
"""Tensors by name (torch's, which is not imported here), and everything else as JSON."""


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

    def load(self) -> Saved | None:
        """The last checkpoint of these runs that is whole; damaged ones are set aside with a message.

        It is the pack's own, or else that of a pack which these runs were cut out of.
        """
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
        from safetensors.torch import save

        if not self._claim(self.number).exists() or self._claim(self.number + 1).exists():
            raise Superseded
        tensors, facts = state
        body = save(tensors, metadata={"facts": to_json(facts).decode()})
        write_atomically(self.folder / f"{step:09d}-{self.number}.checkpoint", sealed(body))
        for old in sorted(self.folder.glob("*.checkpoint"))[:-GENERATIONS]:
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """The pack's records are written: nothing of it is needed any more."""
        shutil.rmtree(self.folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.folder.parent.rmdir()  # when it was the last


def _last_state(pack: Path) -> State | None:
    from safetensors import SafetensorError
    from safetensors.torch import load

    for path in sorted(pack.glob("*.checkpoint"), reverse=True):
        body = unseal(path)
        if body is not None:
            try:
                return load(body), from_json(_metadata(body))
            except (SafetensorError, KeyError, ValueError):
                pass  # whole, but not ours
        quarantine(path, "Going on from the one before.")
    return None


def _metadata(body: bytes) -> bytes:
    """The `facts` in a safetensors file's header: 8 bytes of length, then JSON."""
    header = from_json(body[8 : 8 + int.from_bytes(body[:8], "little")])
    facts: str = header["__metadata__"]["facts"]
    return facts.encode()
