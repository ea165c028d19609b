"""One coordinator per results folder."""

from __future__ import annotations

import fcntl
import json
import os
import socket
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
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            try:
                holder = json.loads(os.pread(file, 4096, 0))
                who = f"process {holder['pid']} on {holder['host']}"
            except (ValueError, KeyError):
                who = "another process"
            raise UsageError(f"{folder} is being worked on by {who}; wait for it, or end it") from None
        os.ftruncate(file, 0)
        os.pwrite(file, json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode(), 0)
        yield
        os.ftruncate(file, 0)
    finally:
        os.close(file)
