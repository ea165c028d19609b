"""One coordinator per results folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from study.errors import UsageError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds the folder for this process; the system lets go of it when the process ends, however.

    Raises:
        UsageError: if another process holds it (named with pid and host), or it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UsageError(f"cannot write in {folder}: {error.strerror}; give another results=") from None
    try:
        if not _taken(file):
            who = _who_holds(file)
            raise UsageError(f"{folder} is being worked on by {who}; wait for it, or end it")
        if (before := _holder(file)) and before.endswith(f" on {socket.gethostname()}"):
            print(f"{before} ended without letting go of {folder}; going on from what it left", flush=True)
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        try:
            yield
        finally:
            os.ftruncate(file, 0)
    finally:
        os.close(file)


def _taken(file: int) -> bool:
    """Takes the lock; tries for a moment, for `holder` may have it while it looks."""
    for _ in range(4):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            time.sleep(0.05)
    return False


def holder(folder: Path) -> str:
    """Who works on the folder (`process 1 on host`), empty if nobody does."""
    try:
        file = os.open(folder / "lock", os.O_RDWR)
    except OSError:
        return ""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return ""
    except OSError:
        return _who_holds(file)
    finally:
        os.close(file)


def _who_holds(file: int) -> str:
    """Who holds the lock; it may have taken it this moment, and not yet written who it is."""
    for _ in range(20):
        time.sleep(0.05)
        if who := _holder(file):
            return who
    return "another process"


def _holder(file: int) -> str:
    """Who is written in the lock file: it may be dead."""
    try:
        written = json.loads(os.pread(file, 4096, 0))
        return f"process {written['pid']} on {written['host']}"
    except (ValueError, KeyError, TypeError):
        return ""
