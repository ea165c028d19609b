"""Pictures with maps of classes and captions, from a folder like ADE20K's or a hub's data set.

    FOLDER/images/training/NAME.jpg       validation/ and test/ too; without such folders, images/NAME.jpg
    FOLDER/annotations/training/NAME.png  a class's number per pixel, of the picture's size
    FOLDER/captions.json                  {"NAME": "caption", ...}

A data set of the hub has a picture, a map and a caption column, by their usual names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import UsageError, first_line, listed
from study.tasks.diffusion.map_scenes import CAPTION, MAP, NUMBER, PICTURE, MapScenes, Numbering, check_rows
from study.tasks.loading.image_folder import FOLDERS
from study.tasks.loading.pictures import SUFFIXES, UNREADABLE
from study.tasks.loading.sources import local_path, splits_of_hub
from study.tasks.loading.splits import HELD_OUT, check_train, three_splits

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = {
    PICTURE: ("image", "picture", "img"),
    MAP: ("annotation", "map", "segmentation", "mask", "label"),
    CAPTION: ("caption", "text", "prompt"),
}
"""What a data set's columns may be called."""


@dataclass(frozen=True)
class MapFolder:
    """The splits, and notes on what was decided by rule."""

    splits: dict[str, MapScenes]
    notes: tuple[str, ...]


def load(source: str, size: int, numbering: Numbering) -> MapFolder:
    """The splits of a folder or of a hub's data set; what is lacking is held out of training.

    Raises:
        UsageError: for the first file that is missing, cannot be read or does not fit the others.
    """
    path = local_path("task.data", source)
    if path is not None and not path.is_dir():
        raise UsageError(
            f"task.data={source}: a file; needs a folder with images/, annotations/ and captions.json"
        )
    parts, notes = _of_folder(path) if path is not None else (_of_hub(source), [])
    smaller = sum(check_rows(rows, size, numbering) for rows in parts.values())
    if smaller:
        notes.append(f"{smaller:,} pictures are smaller than {size}x{size} pixels, and are enlarged")
    parts = _numbered(parts)
    given = {"test": "test", "valid": "validation"}
    if "test" not in parts and "validation" in parts:  # as ADE20K: what validates there is scored here
        given = {"test": "validation", "valid": None}  # type: ignore[dict-item]
        notes.append("test: the data's own validation")
    splits = three_splits(parts, given, held_out=lambda rows: max(1, round(HELD_OUT * rows)))
    held = [split for split, name in given.items() if name not in parts]
    notes += [f"{split}: {len(splits[split])} rows held out of training" for split in held]
    return MapFolder({s: MapScenes(rows, size, numbering) for s, rows in splits.items()}, tuple(notes))


def _numbered(parts: dict[str, Dataset]) -> dict[str, Dataset]:
    """With a column of numbers, which run on through the parts."""
    numbered, first = {}, 0
    for name in sorted(parts):
        rows = parts[name]
        numbered[name] = rows.add_column(NUMBER, list(range(first, first + len(rows))))
        first += len(rows)
    return numbered


def _of_folder(root: Path) -> tuple[dict[str, Dataset], list[str]]:
    from datasets import Dataset

    where, images, annotations = f"task.data={root}", root / "images", root / "annotations"
    for folder in (images, annotations):
        if not folder.is_dir():
            raise UsageError(f"{where}: no folder {folder}")
    captions = _captions(root / "captions.json")
    parts, notes, read, described = {}, [], set[Path](), set[str]()
    for split, folder in _splits(images).items():
        rows: dict[str, list[str]] = {PICTURE: [], MAP: [], CAPTION: []}
        for path in pictures_in(folder, where):
            map_path = annotations / path.relative_to(images).with_suffix(".png")
            if not map_path.is_file():
                raise UsageError(f"{where}: {path} has no map {map_path}")
            if map_path in read:
                raise UsageError(f"{where}: {path} and another picture have one map {map_path}")
            name = path.name if captions.get(path.name) else path.stem
            if not captions.get(name):
                raise UsageError(f"{where}: captions.json has no caption for {path}")
            read.add(map_path)
            described.add(name)
            for column, value in zip(rows, (str(path), str(map_path), captions[name]), strict=True):
                rows[column].append(value)
        parts[split] = Dataset.from_dict(rows)
    maps = {path for each in {path.parent for path in read} for path in each.glob("*.png")}
    if without := sorted(str(path.relative_to(root)) for path in maps - read):
        notes.append(f"maps without a picture, not read: {listed(without)}")
    if without := sorted(captions.keys() - described):
        notes.append(f"captions without a picture, not read: {listed(without)}")
    return parts, notes


def pictures_in(folder: Path, where: str) -> list[Path]:
    """The pictures that lie in a folder.

    Raises:
        UsageError: if there is none, or one that would be passed over.
    """
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for path in files:
        if path.suffix.lower() in UNREADABLE:
            raise UsageError(f"{where}: {path} cannot be read; save it as PNG or JPEG")
        if path.is_dir():
            raise UsageError(f"{where}: {path} is a folder; pictures lie in {folder} itself")
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    if not pictures:
        raise UsageError(f"{where}: {folder} holds no picture")
    return pictures


def _splits(images: Path) -> dict[str, Path]:
    where = f"task.data={images.parent}"
    folders = [each for each in sorted(images.iterdir()) if each.is_dir() and not each.name.startswith(".")]
    named: dict[str, Path] = {}
    for folder in folders:
        split = FOLDERS.get(folder.name.lower())
        if split is None:
            raise UsageError(f"{where}: {folder} is no split; known: {', '.join(FOLDERS)}")
        if split in named:
            raise UsageError(f"{where}: {named[split]} and {folder.name}/: keep one for {split}")
        named[split] = folder
    if folders and "train" not in named:
        raise UsageError(f"{where}: {images} has folders, but none for training")
    return named or {"train": images}


def _captions(file: Path) -> dict[str, str]:
    """By a picture's name, with its suffix or without.

    Raises:
        UsageError: if the file is missing, broken, or has two captions for one name.
    """
    where = f"task.data={file.parent}"

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in found if names.count(name) > 1)
            raise UsageError(f"{where}: {file} has {twice!r} twice; keep one caption")
        return found

    try:
        captions = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=once)
    except (OSError, ValueError) as error:
        raise UsageError(f"{where}: {file} cannot be read: {first_line(error)}") from None
    if not isinstance(captions, dict) or not all(isinstance(each, str) for each in captions.values()):
        raise UsageError(f'{where}: {file} is not {{"NAME": "caption", ...}}')
    for name in captions:
        stem = Path(name).stem
        if stem != name and captions.get(stem, captions[name]) != captions[name]:
            raise UsageError(f"{where}: {file} has {name!r} and {stem!r} with different captions; keep one")
    return {name: caption.strip() for name, caption in captions.items()}


def _of_hub(source: str) -> dict[str, Dataset]:
    import datasets

    where = f"task.data={source}"
    parts = splits_of_hub(source)
    check_train(source, parts)
    columns: Sequence[str] = parts["train"].column_names
    found = {}
    for kind, known in COLUMNS.items():
        name = next((name for name in known if name in columns), None)
        if name is None:
            raise UsageError(f"{where}: no column {' or '.join(known)}; has {', '.join(columns)}")
        found[name] = kind
    named = {FOLDERS[split]: rows for split, rows in parts.items() if split in FOLDERS}
    undecoded = datasets.Image(decode=False)
    for name, kind in found.items():
        if kind == CAPTION:
            continue
        if not isinstance(parts["train"].features[name], datasets.Image):
            raise UsageError(f"{where}: column {name}, taken for the {kind}s, holds no pictures")
    parts = {split: rows.select_columns(list(found)).rename_columns(found) for split, rows in named.items()}
    return {
        split: rows.cast_column(PICTURE, undecoded).cast_column(MAP, undecoded)
        for split, rows in parts.items()
    }
