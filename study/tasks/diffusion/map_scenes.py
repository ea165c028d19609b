"""One split of pictures with maps of classes and captions, which are read when they are asked for."""

from __future__ import annotations

import io
import os
from collections.abc import Sequence
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
from study.tasks.loading.pictures import check_picture, cut_to_square, open_picture

if TYPE_CHECKING:
    from datasets import Dataset

PICTURE, MAP, CAPTION, NUMBER = "picture", "map", "caption", "number"
"""Columns of the rows. A row's number is its own among all rows of the data, whatever split it goes to."""


@dataclass(frozen=True)
class Numbering:
    """What the numbers in a map's file mean.

    Attributes:
        classes: how many there are.
        from_one: whether 0 is no class, and the first class is 1, as in ADE20K.
    """

    classes: int
    from_one: bool


class MapScenes:
    """One split: see `study.tasks.diffusion.scenes.Scenes`.

    Pictures and maps are scaled so that the shorter side has `size` pixels, and cut to the middle.
    """

    def __init__(self, rows: Dataset, size: int, numbering: Numbering) -> None:
        self.captions: Sequence[str] = rows[CAPTION][:]
        self._rows, self._size, self._numbering = rows, size, numbering

    def __len__(self) -> int:
        return len(self._rows)

    def pictures(self, indices: Sequence[int]) -> Tensor:
        cells = self._rows[list(indices)][PICTURE]
        pixels = [np.asarray(self._square(open_picture(cell), Image.Resampling.LANCZOS)) for cell in cells]
        return torch.from_numpy(np.stack(pixels)).movedim(-1, 1).float() / 127.5 - 1

    def maps(self, indices: Sequence[int]) -> Tensor:
        cells = self._rows[list(indices)][MAP]
        squares = [self._square(open_map(cell), Image.Resampling.NEAREST) for cell in cells]
        numbers = torch.from_numpy(np.stack([np.asarray(square) for square in squares])).to(torch.uint8)
        if not self._numbering.from_one:
            return numbers
        return torch.where(numbers == 0, UNLABELLED, numbers - 1).to(torch.uint8)

    def source(self, index: int) -> tuple[int, bytes]:
        """A picture's number among all of the data, and its file's content."""
        row = self._rows[index]
        return row[NUMBER], _content(row[PICTURE])

    def _square(self, picture: Image.Image, how: Image.Resampling) -> Image.Image:
        return cut_to_square(picture, self._size, how)


def open_map(cell: Any) -> Image.Image:
    """The map of a cell: a path, or a data set's bytes and path. One number per pixel.

    Raises:
        UsageError: naming it, if it cannot be read, or is a picture in colour.
    """
    name = cell_name(cell)
    try:
        picture = Image.open(io.BytesIO(_content(cell)))
        picture.load()
    except Exception as error:  # Pillow's decoders raise whatever they meet
        raise UsageError(f"task.data: map {name} cannot be read: {first_line(error)}") from None
    if picture.mode not in ("L", "P", "1") and not picture.mode.startswith("I"):
        raise UsageError(
            f"task.data: map {name} is in colour ({picture.mode}); give a class's number per pixel"
        )
    return picture


def check_rows(rows: Dataset, size: int, numbering: Numbering) -> int:
    """Looks at every picture, map and caption, several at a time.

    Returns:
        How many pictures are smaller than `size`, and so have to be enlarged.

    Raises:
        UsageError: naming the first that does not fit.
    """

    def is_smaller(row: dict[str, Any]) -> bool:
        return min(_checked(row, numbering)) < size

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as threads:
        return sum(threads.map(is_smaller, (rows[i] for i in range(len(rows)))))


def _checked(row: dict[str, Any], numbering: Numbering) -> tuple[int, int]:
    """Width and height of the picture."""
    picture, map_cell, caption = row[PICTURE], row[MAP], row[CAPTION]
    if isinstance(picture, str):
        check_picture(picture)
    if not isinstance(caption, str) or not caption.strip():
        what = "no caption" if not caption or isinstance(caption, str) else f"{caption!r} as its caption"
        raise UsageError(f"task.data: picture {cell_name(picture)} has {what}; give it a sentence")
    drawn, given = open_map(map_cell), open_picture(picture).size
    if drawn.size != given:
        sizes = ["x".join(map(str, size)) for size in (drawn.size, given)]
        raise UsageError(f"task.data: map {cell_name(map_cell)} is {sizes[0]}, its picture {sizes[1]}")
    largest = numbering.classes - (not numbering.from_one)
    numbers = np.asarray(drawn)
    if (wrong := numbers[(numbers > largest) | (numbers < 0)]).size:
        raise UsageError(
            f"task.data: map {cell_name(map_cell)} has class {wrong.max()}; the segmenter knows"
            f" {1 if numbering.from_one else 0} to {largest}"
        )
    return given


def cell_name(cell: Any) -> str:
    """What a picture or map is called in what is said of it."""
    return cell if isinstance(cell, str) else str(cell["path"] or "of the data set")


def _content(cell: Any) -> bytes:
    if isinstance(cell, str):
        return Path(cell).read_bytes()
    return bytes(cell["bytes"] or Path(cell["path"]).read_bytes())
