"""A folder of pictures as splits of rows: train/CLASS/*.png, and perhaps validation/ and test/.

The folder is listed anew each time: there is no cache that could outlive its content.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from study.errors import UsageError, listed, nearest
from study.tasks.loading.pictures import SUFFIXES, UNREADABLE, check_picture

if TYPE_CHECKING:
    from datasets import Dataset

FOLDERS = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation",
    "val": "validation", "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip
"""Splits by what their folders may be called."""

IMAGE, LABEL = "image", "label"
"""Columns of the rows: a picture's path, and its class."""


class Listed(NamedTuple):
    """Rows by split (IMAGE, LABEL), and notes on what was decided by rule."""

    parts: dict[str, Dataset]
    notes: list[str]


def list_folder(source: str) -> Listed:
    """Every picture of a folder, in the order of the paths, each looked at.

    Raises:
        UsageError: for the first file or folder that is not where a picture of a class belongs, and for the
            first picture that cannot be read.
    """
    from datasets import ClassLabel, Dataset, Features, Value

    where, root = f"task.data={source}", Path(source).expanduser()
    folders: dict[str, Path] = {}
    for folder in _subfolders(root):
        if split := FOLDERS.get(folder.name.lower()):
            if split in folders:
                raise UsageError(f"{where}: {folders[split].name}/ and {folder.name}/: keep one for {split}")
            folders[split] = folder
    if folders and "train" not in folders:
        raise UsageError(f"{where}: has {listed([f.name for f in folders.values()])}, no train folder")
    beside = [f.name for f in _subfolders(root) if folders and f not in folders.values()]
    notes = [f"not read: {listed(beside)}"] if beside else []
    others: list[Path] = []
    found = {s: _classes(f, where, others) for s, f in (folders or {"train": root}).items()}
    names = sorted(found["train"])
    if len(names) < 2:
        raise UsageError(f"{where}: pictures of {len(names)} classes; needs train/CLASS/*.png, two or more")
    for split, classes in found.items():
        if unknown := sorted(classes.keys() - set(names)):
            near = nearest(unknown[0], names[:10])
            raise UsageError(f"{where}: class {unknown[0]} of {split} has no picture in train; {near}")
    several = _check_all([path for classes in found.values() for paths in classes.values() for path in paths])
    if several:
        notes.append(f"{len(several)} pictures have several frames, the first is read: {several[0]}, ...")
    if others:
        relative = [str(path.relative_to(root)) for path in others]
        notes.append(f"{len(others)} files that are no pictures left out: {listed(relative)}")
    features = Features({IMAGE: Value("string"), LABEL: ClassLabel(names=names)})
    parts = {}
    for split, classes in found.items():
        rows = sorted((str(path), names.index(name)) for name, paths in classes.items() for path in paths)
        columns = {IMAGE: [path for path, _ in rows], LABEL: [label for _, label in rows]}
        parts[split] = Dataset.from_dict(columns, features=features)
    return Listed(parts, notes)


def _subfolders(folder: Path) -> list[Path]:
    return [each for each in sorted(folder.iterdir()) if each.is_dir() and not each.name.startswith(".")]


def _classes(split: Path, where: str, others: list[Path]) -> dict[str, list[Path]]:
    """Pictures by class; files that are none are added to `others`."""
    if loose := [path for path in sorted(split.iterdir()) if path.suffix.lower() in SUFFIXES | UNREADABLE]:
        raise UsageError(f"{where}: {loose[0]} lies in no class's folder; needs train/CLASS/*.png")
    classes: dict[str, list[Path]] = {}
    for folder in _subfolders(split):
        pictures = []
        for path in sorted(folder.rglob("*")):
            if path.name.startswith(".") or path.is_dir():
                continue
            if path.suffix.lower() in UNREADABLE:
                raise UsageError(f"{where}: {path} cannot be read; save it as PNG or JPEG")
            if path.suffix.lower() not in SUFFIXES:
                others.append(path)
            elif path.parent != folder:
                raise UsageError(
                    f"{where}: {path} lies in a folder inside class {folder.name}'s; each class is one folder"
                )
            else:
                pictures.append(path)
        if not pictures:
            raise UsageError(f"{where}: {folder} holds no picture; take the folder out")
        classes[folder.name] = pictures
    return classes


def _check_all(paths: list[Path]) -> list[Path]:
    """Looks at each picture, several at a time; returns those with several frames.

    About a millisecond each for photographs of half a megapixel: less than one look by the base model.
    """
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return [
            path for path, frames in zip(paths, threads.map(check_picture, paths), strict=True) if frames > 1
        ]
