"""One picture as a model takes it: upright, in RGB of 8 bits, whatever the file has."""

from __future__ import annotations

import contextlib
import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from study.errors import UsageError, first_line

SUFFIXES = {
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff",
    ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".jp2", ".j2k", ".avif", ".ico", ".mpo", ".pcx", ".sgi",
    ".qoi", ".psd",
}  # fmt: skip
"""What files of pictures end with."""

UNREADABLE = {
    ".heic",
    ".heif",
    ".svg",
    ".raw",
    ".dng",
    ".nef",
    ".cr2",
    ".cr3",
    ".arw",
    ".npy",
    ".pdf",
    ".eps",
}
"""Pictures too, but not for Pillow or not as pixels."""

COMMON = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")
"""Modes in which every pixel has its colour in RGB."""

DEEPEST = 65535
"""White, in a greyscale picture of 16 bits."""

TURNED = 0x0112
"""EXIF's tag of the camera's orientation."""


def rgb(picture: Image.Image) -> Image.Image:
    """The picture in RGB.

    16-bit greyscale is scaled by 1/257, so that 65,535 is white; floating point from 0 (black) to 1 (white).
    What is transparent is laid on white. A camera's orientation is undone.

    Raises:
        ValueError: if its values have no known scale, or its mode none in RGB.
    """
    with contextlib.suppress(SyntaxError, ValueError, struct.error):  # damaged EXIF: as if there were none
        if picture.getexif().get(TURNED, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
    if picture.mode == "F" or picture.mode.startswith("I"):
        white = 1 if picture.mode == "F" else DEEPEST
        values = np.asarray(picture).astype(np.float64)
        if not (values.min() >= 0 and values.max() <= white):
            found = f"from {values.min():g} to {values.max():g}"
            raise ValueError(f"grey values {found}, and 0 to {white} are read; scale them, or save 8 bits")
        return Image.fromarray((values * (255 / white)).round().astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "RGBa", "LA", "La", "PA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        white_ground = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white_ground, picture).convert("RGB")
    return picture.convert("RGB")


def open_picture(cell: Any, place: str = "") -> Image.Image:
    """The picture of a cell, in RGB: a path, or a data set's bytes and path.

    Raises:
        UsageError: naming it, if it cannot be read.
    """
    content = cell if isinstance(cell, str) else cell["bytes"] and io.BytesIO(cell["bytes"])
    name = cell if isinstance(cell, str) else (cell["path"] or place)
    try:
        with Image.open(content or name) as picture:
            return rgb(picture)
    except Exception as error:  # Pillow's decoders raise whatever they meet
        raise UsageError(f"task.data: picture {name} cannot be read: {_said(error, name)}") from None


def cut_to_square(picture: Image.Image, size: int, how: Image.Resampling) -> Image.Image:
    """Scaled so that the shorter side has `size` pixels, and cut to the middle."""
    scale = size / min(picture.size)
    width, height = (max(size, round(side * scale)) for side in picture.size)
    left, upper = (width - size) // 2, (height - size) // 2
    return picture.resize((width, height), how).crop((left, upper, left + size, upper + size))


def check_picture(path: Path | str) -> int:
    """Reads a file far enough to know that all of it is there; returns its number of frames.

    A PNG's checksums are verified; of other formats every pixel is decoded, of JPEG at an eighth of its size.

    Raises:
        UsageError: naming it, if it is no picture, or damaged, or cut off.
    """
    try:
        with Image.open(path) as picture:
            frames = int(getattr(picture, "n_frames", 1))
            if picture.mode not in COMMON:
                rgb(picture)
            elif picture.format == "PNG":
                picture.verify()
            else:
                picture.draft("RGB", (max(1, picture.width // 8), max(1, picture.height // 8)))
                picture.load()
            return frames
    except Exception as error:
        raise UsageError(f"task.data: picture {path} cannot be read: {_said(error, path)}") from None


def _said(error: Exception, name: Path | str) -> str:
    """Without the name, which is said already."""
    if isinstance(error, Image.UnidentifiedImageError):
        return "it is no picture, or damaged"
    return first_line(error).replace(str(name), "the file")
