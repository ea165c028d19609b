"""The pictures that runs keep to be looked at: what their models generated, beside what was asked for.

    results/<name>/samples/<run_id>.png     a row of pictures per kind, a column per test example

Lossless, written once, before the run's record, which holds the file's digest (column `pictures`): so a file
that was damaged or exchanged is noticed when it is read.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from study.errors import UsageError
from study.storage.files import write_atomically

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Pictures = Mapping[str, NDArray[np.uint8]]
    """(examples, 3, height, width) each, by what they show, all of one shape."""

KINDS, EXAMPLES = "kinds", "examples"
"""Keys of the PNG's text: how the sheet is to be cut."""


def path_of(folder: Path, run_id: str) -> Path:
    return folder / "samples" / f"{run_id}.png"


def write(folder: Path, run_id: str, pictures: Pictures) -> str:
    """Writes a run's pictures as one sheet, in the order of their kinds; returns the file's digest.

    Raises:
        CannotWrite: if the disk is full or the folder cannot be written.
    """
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    stacked = np.stack(list(pictures.values()))  # (kinds, examples, 3, height, width)
    kinds, examples, _, height, width = stacked.shape
    sheet = stacked.transpose(0, 3, 1, 4, 2).reshape(kinds * height, examples * width, 3)
    text = PngInfo()
    text.add_text(KINDS, json.dumps(list(pictures)))
    text.add_text(EXAMPLES, str(examples))
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(sheet)).save(content, "png", pnginfo=text)
    write_atomically(path_of(folder, run_id), content.getvalue())
    return _digest(content.getvalue())


def read(folder: Path, run_id: str, digest: str) -> Pictures:
    """A run's pictures by kind.

    Args:
        digest: as the run's record has it.

    Raises:
        UsageError: if there is no such file, or it is not what the run wrote.
    """
    from PIL import Image

    image = Image.open(io.BytesIO(_content(folder, run_id, digest)))
    kinds, examples = json.loads(image.text[KINDS]), int(image.text[EXAMPLES])  # type: ignore[attr-defined]
    sheet = np.asarray(image)
    height, width = sheet.shape[0] // len(kinds), sheet.shape[1] // examples
    cut = sheet.reshape(len(kinds), height, examples, width, 3).transpose(0, 2, 4, 1, 3)
    return dict(zip(kinds, cut, strict=True))


def copy(folder: Path, to: Path, run_id: str, digest: str) -> None:
    """Copies a run's file from one study's folder to another's.

    Raises:
        UsageError: as of `read`.
        CannotWrite: as of `write`.
    """
    write_atomically(path_of(to, run_id), _content(folder, run_id, digest))


def _content(folder: Path, run_id: str, digest: str) -> bytes:
    path = path_of(folder, run_id)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: the run's pictures cannot be read: {error.strerror}") from None
    if _digest(content) != digest:
        raise UsageError(f"{path} is not what its run wrote; train it again under another name=")
    return content


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
