"""A study's folder before anything runs in it: swept of what killed processes left, and of damage."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from study.coordination.plan_file import FILE, DamagedPlan, Plan, read_plan
from study.errors import UsageError
from study.settings import SweepSettings
from study.storage import records, tables
from study.storage.files import quarantine


def tidy_folder(folder: Path, settings: SweepSettings) -> None:
    """Removes what a killed process left half done; quarantines damaged files.

    Where there are Slurm tasks, which may be writing this moment, only what has lain for an hour.

    Raises:
        UsageError: if the folder holds another study, or results of a newer version.
    """
    _remove_leftovers(folder)
    records.quarantine_damaged(folder)
    tables.quarantine_damaged(folder)
    try:
        plan = read_plan(folder)
    except DamagedPlan:
        quarantine(folder / FILE, "The study is planned anew.")
        return
    check_is_same_study(folder, plan, settings)


def check_is_same_study(folder: Path, plan: Plan | None, settings: SweepSettings) -> None:
    """Refuses a folder that was planned for another task.

    Raises:
        UsageError: naming what is set otherwise.
    """
    if plan is None:
        return
    settings_now = vars(settings.task)
    for key, value in vars(plan.settings.task).items():
        if settings_now[key] != value and f"task.{key}" not in settings.axes:
            raise UsageError(
                f"{folder} holds runs with task.{key}={value}, not {settings_now[key]}; give another name="
            )


def check_can_be_written(folder: Path) -> None:
    """Refuses a folder in which nothing could be written, without making it.

    Raises:
        UsageError: naming what is in the way.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        why = "is no folder" if not nearest.is_dir() else "may not be written"
        raise UsageError(f"cannot write in {folder}: {nearest} {why}; give another results=")


@contextlib.contextmanager
def gone_if_refused(folder: Path) -> Iterator[None]:
    """Takes a study's folder away again if it was made for a command that was refused before anything ran."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except UsageError:
        if folder in made and not any((folder / name).exists() for name in ("records", FILE)):
            shutil.rmtree(folder, ignore_errors=True)
            for parent in made[1:]:
                with contextlib.suppress(OSError):  # something else is in it by now
                    parent.rmdir()
        raise


def _remove_leftovers(folder: Path) -> None:
    latest = time.time() - (3600 if (folder / "slurm").exists() else 0)
    for parent, folders, files in os.walk(folder):  # which bears that files vanish meanwhile
        for name in [*folders, *files]:
            leftover = Path(parent, name)
            if not (name.startswith(".") and name.endswith(".tmp")):
                continue
            with contextlib.suppress(FileNotFoundError):
                if leftover.lstat().st_mtime <= latest:
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
