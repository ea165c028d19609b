"""What a pack in training leaves behind, so that it goes on bit for bit where it was.

    results/<name>/checkpoints/<pack_id>/attempt-<n>            empty; claimed by one process
    results/<name>/checkpoints/<pack_id>/<step>-<n>.checkpoint  sealed safetensors, two generations

Attempts are numbered. One that finds a later attempt, or that its pack is done, stops: two processes
may work on one pack for a while (a node that is cut off and the node its job was given to), but only
the latest goes on, and a run's first finished record wins. No pickle is read.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from study.storage.files import from_json, quarantine, sealed, to_json, unseal, write_atomically

GENERATIONS = 2

State = tuple[dict[str, Any], dict[str, Any]]
"""Tensors by name (torch's, which is not imported here), and everything else as JSON."""


class Stopped(Exception):
    """The attempt was asked to stop; all it has done is in its last checkpoint."""


class Superseded(Exception):
    """A later attempt has the pack, or it is done: nothing of this one's is needed any more."""


class Progress(NamedTuple):
    """How far an unfinished pack has come: how often it was begun, and the step of its last checkpoint."""

    attempts: int
    step: int


def unfinished_packs(folder: Path) -> dict[str, Progress]:
    """The packs that were begun and have no records yet, by pack_id."""
    progress = {}
    for pack in (folder / "checkpoints").glob("*/"):
        steps = [int(path.name.split("-")[0]) for path in pack.glob("*.checkpoint")]
        progress[pack.name] = Progress(len(list(pack.glob("attempt-*"))), max(steps, default=0))
    return progress


class Attempt:
    """One attempt at a pack.

    Args:
        every_s: seconds between checkpoints.
        stop: asked after every step; once it is true, the attempt saves and raises `Stopped`.

    Attributes:
        number: 1 for the first.

    Raises:
        CannotWrite: when it cannot be written.
    """

    def __init__(
        self, folder: Path, pack_id: str, every_s: float, stop: Callable[[], bool] = lambda: False
    ) -> None:
        self.folder = folder / "checkpoints" / pack_id
        self.every_s, self.stop = every_s, stop
        before = [int(path.name.removeprefix("attempt-")) for path in self.folder.glob("attempt-*")]
        self.number = 1 + max(before, default=0)
        while not write_atomically(self._claim(self.number), b"", replace=False):
            self.number += 1
        self._saved_at = time.monotonic()

    def _claim(self, number: int) -> Path:
        return self.folder / f"attempt-{number}"

    def load(self) -> State | None:
        """The last checkpoint that is whole; damaged ones are set aside with a message."""
        from safetensors import SafetensorError
        from safetensors.torch import load

        for path in sorted(self.folder.glob("*.checkpoint"), reverse=True):
            body = unseal(path)
            if body is not None:
                try:
                    return load(body), from_json(_metadata(body))
                except (SafetensorError, KeyError, ValueError):
                    pass  # whole, but not ours
            quarantine(path, "Going on from the one before.")
        return None

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


def _metadata(body: bytes) -> bytes:
    """The `facts` in a safetensors file's header: 8 bytes of length, then JSON."""
    header = from_json(body[8 : 8 + int.from_bytes(body[:8], "little")])
    facts: str = header["__metadata__"]["facts"]
    return facts.encode()
