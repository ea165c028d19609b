"""Folders that libraries write in, beside the study's: where they cannot, what is said and done.

HF_HOME    models and data from the hub are kept there; HOME/.cache/huggingface, if it is not set
TMPDIR     files for a moment; /tmp, if it is not set
"""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from study.errors import UsageError, causes
from study.paths import users_cache

ROOM = 16 * 2**20
"""Bytes: a file system with less is full."""

CANNOT_WRITE = {errno.EACCES, errno.EDQUOT, errno.ENOSPC, errno.ENOTDIR, errno.EPERM, errno.EROFS}


def hub_folders() -> dict[str, Path]:
    """Where the hub's libraries write, by the variable that moves it; HF_HOME moves them all."""
    home = Path(os.environ.get("HF_HOME") or users_cache() / "huggingface").expanduser()
    return {
        "HF_DATASETS_CACHE": Path(os.environ.get("HF_DATASETS_CACHE") or home / "datasets"),
        "HF_HUB_CACHE": Path(os.environ.get("HF_HUB_CACHE") or home / "hub"),
    }


def why_not(folder: Path) -> str:
    """Why nothing can be written in a folder, which need not be there yet; empty if it can."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        return "not a folder"
    if not os.access(there, os.W_OK | os.X_OK):
        return "read-only"
    space = os.statvfs(there)
    return "full" if space.f_bavail * space.f_frsize < ROOM else ""


def temporary_folder() -> Path:
    """Where files for a moment go: in TMPDIR, else wherever Python finds a place.

    Raises:
        UsageError: if there is no place.
    """
    try:
        return Path(tempfile.gettempdir())
    except OSError as error:
        raise UsageError(f"{error.strerror}; give a folder with room as TMPDIR") from None


def elsewhere() -> dict[str, str]:
    """Variables that send libraries elsewhere, for what need not be kept and cannot be written where it was.

    Raises:
        UsageError: if files for a moment cannot be written anywhere.
    """
    place = temporary_folder()
    variables = {}
    if "TMPDIR" in os.environ and place != Path(os.environ["TMPDIR"]):
        variables["TMPDIR"] = str(place)
    if why_not(hub_folders()["HF_DATASETS_CACHE"]):
        variables["HF_DATASETS_CACHE"] = str(place / f"ether-study-{os.getuid()}" / "datasets")
    return variables


def words(variables: dict[str, str]) -> str:
    """A line that says what goes elsewhere and why; empty if nothing does."""
    parts = []
    if place := variables.get("TMPDIR"):
        parts.append(f"TMPDIR={os.environ['TMPDIR']} cannot be written: {place} is used")
    if place := variables.get("HF_DATASETS_CACHE"):
        folder = hub_folders()["HF_DATASETS_CACHE"]
        parts.append(f"{folder} is {why_not(folder)}: data is prepared in {place}")
    return "; ".join(parts)


def blame(error: BaseException) -> str:
    """Which of these folders an error comes from, and what to do; empty if it is not about any of them.

    Libraries hide it well: an error may have been raised over it, and need not name the file.
    """
    of_files = (each for each in causes(error) if isinstance(each, OSError))
    return next((_blame(each) for each in of_files if each.errno in CANNOT_WRITE), "")


def _blame(error: OSError) -> str:
    file = Path(str(error.filename)).absolute() if error.filename else None
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)  # else it may be a file that cannot be read
    for variable, folder in {**hub_folders(), "TMPDIR": temporary_folder()}.items():
        if file is None:
            to_blame = bool(why_not(folder))
        elif file.is_relative_to(folder.absolute()):
            to_blame = full or bool(why_not(file.parent))
        else:  # it may lead there, and could not be made
            to_blame = folder.absolute().is_relative_to(file) and bool(why_not(folder))
        if to_blame:
            moved_by = "HF_HOME" if variable.startswith("HF_") else variable
            return (
                f"{folder} cannot be written: {error.strerror}; make room there, or set {moved_by} "
                "to another folder"
            )
    return ""
