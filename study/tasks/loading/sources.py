"""Whether a name stands for something here or on the hub, what the hub has of it, or what to say."""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import MOST_NAMES, UsageError, causes, first_line

if TYPE_CHECKING:
    from datasets import Dataset

FILE_SUFFIXES = {
    ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".gz", ".txt", ".xlsx", ".xls", ".zip",
    ".arrow", ".bz2", ".xz", ".zst", ".tar", ".tgz", ".feather", ".pkl", ".npz",
}  # fmt: skip
"""What only files end with: no data set of the hub is looked for under such a name."""


def is_local(value: str) -> bool:
    """Whether a name stands for a file or folder, be it there or not: it never stands for the hub then."""
    path = Path(value).expanduser()
    return (
        path.exists()
        or path.suffix.lower() in FILE_SUFFIXES
        or value.startswith((".", "/", "~"))
        or value.count("/") > 1
        or "\\" in value
        or ("/" in value and Path(value.split("/")[0]).is_dir())
    )


def local_path(key: str, value: str) -> Path | None:
    """The file or folder that a setting names; None if it can only be a name on the hub.

    Raises:
        UsageError: if there is no such file or folder, with the nearest names that there are.
    """
    path = Path(value).expanduser()
    if not is_local(value):
        return None
    if not path.exists():
        kind = "file" if path.suffix.lower() in FILE_SUFFIXES else "folder"
        raise UsageError(f"{key}={value}: no such {kind}{_nearest(path)}")
    if not os.access(path, os.R_OK | (os.X_OK if path.is_dir() else 0)):
        raise UsageError(f"{key}={value}: may not be read by this user")
    return path


def _nearest(path: Path) -> str:
    """What the folder has instead; empty where that would be guessing."""
    if not path.parent.is_dir():
        return f"; nor is there a folder {path.parent}"
    names = sorted(each.name for each in path.parent.iterdir() if not each.name.startswith("."))
    if near := difflib.get_close_matches(path.name, names, n=3, cutoff=0.6):
        return f"; nearest: {', '.join(str(path.parent / name) for name in near)}"
    alike = [name for name in names if Path(name).suffix.lower() in FILE_SUFFIXES]
    if path.suffix and 0 < len(alike) <= MOST_NAMES:
        return f"; this folder has {', '.join(alike)}"
    return ""


def hub_error(key: str, value: str, error: Exception) -> UsageError:
    """What is wrong with a name that was looked for on the hub, in one line."""
    if _is_offline():
        why = "not in the hub's cache either (HF_HUB_OFFLINE is set); prefetch=true where there is a network"
    elif _is_unreachable(error):
        why = "and the hub cannot be reached: is there a network? (HF_HUB_OFFLINE=1 asks the cache alone)"
    else:
        why = f"the hub says: {first_line(error)}"
    return UsageError(f"{key}={value}: no such file or folder here; {why}")


def splits_of_hub(source: str, *subset: str | None) -> dict[str, Dataset]:
    """A data set of the hub, by its splits' names.

    Raises:
        UsageError: if it cannot be loaded.
    """
    import datasets

    try:
        return dict(datasets.load_dataset(source, *subset))
    except Exception as error:
        raise hub_error("task.data", source, error) from None


def _is_offline() -> bool:
    return any(
        os.environ.get(name, "").upper() in ("1", "TRUE", "YES", "ON")
        for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")
    )


def _is_unreachable(error: BaseException) -> bool:
    words = " ".join(f"{type(each).__name__} {each}".lower() for each in causes(error))
    return any(sign in words for sign in ("couldn't reach", "connect", "resolve", "timed out", "proxy"))
