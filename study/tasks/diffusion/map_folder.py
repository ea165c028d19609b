"""Pictures with maps of classes and captions, from a folder like ADE20K's or a hub's data set.

    FOLDER/images/training/NAME.jpg       validation/ and test/ too; without such folders, images/NAME.jpg
    FOLDER/annotations/training/NAME.png  a class's number per pixel, of the picture's size
    FOLDER/captions.json                  {"NAME": "caption", ...}

A data set of the hub has a picture, a map and a caption column, by their usual names.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from study.errors import UsageError, first_line
from study.tasks.diffusion.scenes import UNLABELLED
from study.tasks.loading.image_folder import FOLDERS
from study.tasks.loading.pictures import SUFFIXES, check_picture, open_picture
from study.tasks.loading.sources import hub_error, local_path
from study.tasks.loading.splits import HELD_OUT, three_splits

if TYPE_CHECKING:
    from datasets import Dataset

COLUMNS = {
    "picture": ("image", "picture", "img"),
    "map": ("annotation", "map", "segmentation", "mask", "label"),
    "caption": ("caption", "text", "prompt"),
}
"""What a data set's columns may be called."""


@dataclass(frozen=True)
class Numbering:
    """What the numbers in a map's file mean.

    Attributes:
        classes: how many there are.
        from_one: whether 0 is no class, and the first class is 1, as in ADE20K.
    """

    classes: int
    from_one: bool


@dataclass(frozen=True)
class MapFolder:
    """The splits, and notes on what was decided by rule."""

    splits: dict[str, MapScenes]
    notes: tuple[str, ...]


class MapScenes:
    """One split: see `study.tasks.diffusion.scenes.Scenes`. Pictures are read when they are asked for.

    Pictures and maps are scaled so that the shorter side has `size` pixels, and cut to the middle.
    """

    def __init__(self, rows: Dataset, size: int, numbering: Numbering) -> None:
        self.captions: Sequence[str] = rows["caption"][:]
        self._rows, self._size, self._numbering = rows, size, numbering

    def __len__(self) -> int:
        return len(self._rows)

    def pictures(self, indices: Sequence[int]) -> Tensor:
        cells = self._rows[list(indices)]["picture"]
        pixels = [np.asarray(self._square(open_picture(cell), Image.Resampling.LANCZOS)) for cell in cells]
        return torch.from_numpy(np.stack(pixels)).movedim(-1, 1).float() / 127.5 - 1

    def maps(self, indices: Sequence[int]) -> Tensor:
        cells = self._rows[list(indices)]["map"]
        squares = [self._square(open_map(cell), Image.Resampling.NEAREST) for cell in cells]
        numbers = torch.from_numpy(np.stack([np.asarray(square) for square in squares])).to(torch.uint8)
        if not self._numbering.from_one:
            return numbers
        return torch.where(numbers == 0, UNLABELLED, numbers - 1).to(torch.uint8)

    def _square(self, picture: Image.Image, how: Image.Resampling) -> Image.Image:
        scale = self._size / min(picture.size)
        width, height = (max(self._size, round(side * scale)) for side in picture.size)
        left, upper = (width - self._size) // 2, (height - self._size) // 2
        scaled = picture.resize((width, height), how)
        return scaled.crop((left, upper, left + self._size, upper + self._size))


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
    parts = _of_folder(path) if path is not None else _of_hub(source)
    for rows in parts.values():
        _check_all(rows, numbering)
    given = {"test": "test", "valid": "validation"}
    if "test" not in parts and "validation" in parts:  # as ADE20K: what validates there is scored here
        given = {"test": "validation", "valid": None}  # type: ignore[dict-item]
    splits = three_splits(parts, given, held_out=lambda rows: max(1, round(HELD_OUT * rows)))
    held = [split for split, name in given.items() if name not in parts]
    notes = tuple(f"{split}: {len(splits[split])} rows held out of training" for split in held)
    if given["test"] == "validation":
        notes = ("test: the data's own validation", *notes)
    return MapFolder({s: MapScenes(rows, size, numbering) for s, rows in splits.items()}, notes)


def open_map(cell: Any) -> Image.Image:
    """The map of a cell: a path, or a data set's bytes and path. One number per pixel.

    Raises:
        UsageError: naming it, if it cannot be read, or is a picture in colour.
    """
    name = _name(cell)
    try:
        picture = Image.open(cell if isinstance(cell, str) else _bytes(cell))
        picture.load()
    except Exception as error:  # Pillow's decoders raise whatever they meet
        raise UsageError(f"task.data: map {name} cannot be read: {first_line(error)}") from None
    if picture.mode not in ("L", "P", "1") and not picture.mode.startswith("I"):
        raise UsageError(
            f"task.data: map {name} is in colour ({picture.mode}); give a class's number per pixel"
        )
    return picture


def _of_folder(root: Path) -> dict[str, Dataset]:
    from datasets import Dataset

    images, annotations = root / "images", root / "annotations"
    for folder in (images, annotations):
        if not folder.is_dir():
            raise UsageError(f"task.data={root}: no folder {folder}")
    captions = _captions(root / "captions.json")
    parts = {}
    for split, folder in _splits(images).items():
        files = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in SUFFIXES]
        rows: dict[str, list[str]] = {"picture": [], "map": [], "caption": []}
        for path in files:
            map_path = annotations / path.relative_to(images).with_suffix(".png")
            if not map_path.is_file():
                raise UsageError(f"task.data={root}: {path} has no map {map_path}")
            caption = captions.get(path.name) or captions.get(path.stem)
            if not caption:
                raise UsageError(f"task.data={root}: captions.json has no caption for {path}")
            for column, value in zip(rows, (str(path), str(map_path), caption), strict=True):
                rows[column].append(value)
        if not files:
            raise UsageError(f"task.data={root}: {folder} holds no picture")
        parts[split] = Dataset.from_dict(rows)
    return parts


def _splits(images: Path) -> dict[str, Path]:
    folders = [each for each in sorted(images.iterdir()) if each.is_dir()]
    named = {FOLDERS[each.name.lower()]: each for each in folders if each.name.lower() in FOLDERS}
    if folders and "train" not in named:
        raise UsageError(f"task.data={images.parent}: {images} has folders, but none for training")
    return named or {"train": images}


def _captions(file: Path) -> dict[str, str]:
    try:
        captions = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"task.data={file.parent}: {file} cannot be read: {first_line(error)}") from None
    if not isinstance(captions, dict) or not all(isinstance(each, str) for each in captions.values()):
        raise UsageError(f'task.data={file.parent}: {file} is not {{"NAME": "caption", ...}}')
    return captions


def _of_hub(source: str) -> dict[str, Dataset]:
    import datasets

    try:
        parts = dict(datasets.load_dataset(source))
    except Exception as error:
        raise hub_error("task.data", source, error) from None
    if "train" not in parts:
        raise UsageError(f"task.data={source}: no train split; has {', '.join(parts)}")
    columns = parts["train"].column_names
    found = {}
    for kind, known in COLUMNS.items():
        name = next((name for name in known if name in columns), None)
        if name is None:
            raise UsageError(f"task.data={source}: no column {' or '.join(known)}; has {', '.join(columns)}")
        found[name] = kind
    parts = {split: rows.select_columns(list(found)).rename_columns(found) for split, rows in parts.items()}
    undecoded = datasets.Image(decode=False)
    return {
        split: rows.cast_column("picture", undecoded).cast_column("map", undecoded)
        for split, rows in parts.items()
    }


def _check_all(rows: Dataset, numbering: Numbering) -> None:
    """Looks at every picture and map, several at a time.

    Raises:
        UsageError: naming the first that does not fit.
    """

    def check(row: dict[str, Any]) -> None:
        _check(row, numbering)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        for _ in threads.map(check, _iterated(rows)):
            pass


def _iterated(rows: Dataset) -> Iterable[dict[str, Any]]:
    return (rows[i] for i in range(len(rows)))


def _check(row: dict[str, Any], numbering: Numbering) -> None:
    picture, map_cell = row["picture"], row["map"]
    if isinstance(picture, str):
        check_picture(picture)
    if not row["caption"]:
        raise UsageError(f"task.data: picture {_name(picture)} has no caption")
    drawn, given = open_map(map_cell), open_picture(picture).size
    if drawn.size != given:
        sizes = ["x".join(map(str, size)) for size in (drawn.size, given)]
        raise UsageError(f"task.data: map {_name(map_cell)} is {sizes[0]}, its picture {sizes[1]}")
    largest = numbering.classes - (not numbering.from_one)
    numbers = np.asarray(drawn)
    if (wrong := numbers[numbers > largest]).size:
        raise UsageError(
            f"task.data: map {_name(map_cell)} has class {wrong.max()}; the segmenter knows"
            f" {1 if numbering.from_one else 0} to {largest}"
        )


def _name(cell: Any) -> str:
    return cell if isinstance(cell, str) else str(cell["path"] or "of the data set")


def _bytes(cell: Any) -> Any:
    import io

    return io.BytesIO(cell["bytes"]) if cell["bytes"] else cell["path"]
