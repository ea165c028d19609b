"""A worker on this machine for what needs no device: looking at tasks, counting, with nothing left behind."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Iterator
from pathlib import Path

from study import launchers
from study.launchers import Session
from study.launchers.processes.folders import temporary_folder
from study.settings import SweepSettings


@contextlib.contextmanager
def worker_here(settings: SweepSettings) -> Iterator[Session]:
    """One worker on a CPU of this machine, whatever launcher the settings name."""
    here = dataclasses.replace(settings.launcher, name="local", device="cpu", workers=1)
    with (
        tempfile.TemporaryDirectory(dir=temporary_folder()) as folder,
        launchers.load(here).open(Path(folder), 1) as session,
    ):
        yield session
