"""A small sweep to disturb, and what is asked of it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from study.storage.schema import CIRCUMSTANCES
from support import warm_python
from support.paths import FAULTS_HERE

Command = Callable[..., subprocess.CompletedProcess[str]]
SMALL = [
    "lr_grid", "method=ether,lora", "lr=1e-3,1e-2,1e-1", "seeds=2", "task.steps=8", "task.evaluations=2",
    "pack_size=2", "name=small", "report=false",
]  # fmt: skip
DRAWN = [*SMALL, "report=true"]
"""The report takes longer than so small a sweep."""
OFTEN = [*SMALL, "checkpoint_s=0.01"]
"""A checkpoint after nearly every step, so that every fault meets one."""


def table(folder: Path, name: str = "runs", keep_circumstances: bool = False) -> pd.DataFrame:
    read = pd.read_parquet(folder / f"{name}.parquet")
    return read if keep_circumstances else read.drop(columns=list(CIRCUMSTANCES), errors="ignore")


def same_tables(folder: Path, expected: Path) -> None:
    """Every table equal bit for bit, but for the columns that say how the runs came about."""
    for name in ("runs", "history", "layers"):
        pd.testing.assert_frame_equal(table(folder, name), table(expected, name), check_exact=True)


def start(
    folder: Path, arguments: list[str], python: str | None = None, **environment: str
) -> subprocess.Popen[str]:
    return _start(folder, [python or sys.executable, "-m", "study.sweep", *arguments], environment)


BY_PYTHON_ITSELF = (
    "import runpy, sys; sys.executable = sys.argv.pop(1); "
    "runpy.run_module('study.sweep', run_name='__main__', alter_sys=True)"
)


def start_to_kill(folder: Path, arguments: list[str], **environment: str) -> subprocess.Popen[str]:
    """A coordinator that is the very process that is given back: dead as soon as `wait` returns."""
    command = [warm_python.REAL, "-c", BY_PYTHON_ITSELF, sys.executable, *arguments]
    return _start(folder, command, environment)


def _start(folder: Path, command: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | environment,
    )


def workers_of(folder: Path) -> list[int]:
    """Worker processes of studies in `folder`, by their numbers: what they print goes into a study's log."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            log = Path(os.readlink(entry / "fd/1"))
            if log.is_relative_to(folder) and log.name.startswith("worker-"):
                found.append(int(entry.name))
    return found


def no_workers_left(folder: Path, within: float) -> bool:
    deadline = time.monotonic() + within
    while workers_of(folder.resolve()) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not workers_of(folder.resolve())


def broken(folder: Path, faults: str, arguments: list[str]) -> tuple[int, str]:
    """Exit code and output of a sweep whose workers break as `faults` says."""
    process = start(folder, arguments, PYTHONPATH=FAULTS_HERE, STUDY_FAULTS=faults)
    output = process.communicate(timeout=300)[0]
    return process.returncode, output
