"""A picture of each mode becomes the RGB that one sees; one that is damaged is named."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from study.errors import UsageError
from study.tasks.loading.pictures import check_picture, open_picture, rgb

RED, WHITE, BLACK = (255, 0, 0), (255, 255, 255), (0, 0, 0)


def grey(values: list[float], kind: Any) -> Image.Image:
    return Image.fromarray(np.array([values], dtype=kind))


def paletted(transparent: bool) -> Image.Image:
    picture = Image.new("P", (2, 1))
    picture.putpalette([255, 0, 0, 0, 0, 255])
    picture.putpixel((1, 0), 1)
    if transparent:
        picture.info["transparency"] = 1
    return picture


def through_a_file(picture: Image.Image, suffix: str, folder: Path, **options: Any) -> Image.Image:
    path = folder / f"a{suffix}"
    picture.save(path, **options)
    assert check_picture(path) == 1
    return open_picture(str(path))


@pytest.mark.parametrize(
    ("picture", "suffix", "pixels"),
    [
        (grey([0, 257, 32896, 65535], np.uint16), ".png", [(0,) * 3, (1,) * 3, (128,) * 3, WHITE]),
        (grey([0, 257, 32896, 65535], np.uint16), ".tif", [(0,) * 3, (1,) * 3, (128,) * 3, WHITE]),
        (grey([0, 257, 32896, 65535], ">u2"), ".tif", [(0,) * 3, (1,) * 3, (128,) * 3, WHITE]),
        (grey([0, 257, 32896, 65535], np.int32), ".tif", [(0,) * 3, (1,) * 3, (128,) * 3, WHITE]),
        (grey([0, 0.2, 1], np.float32), ".tif", [BLACK, (51,) * 3, WHITE]),
        (grey([0, 51, 255], np.uint8), ".png", [BLACK, (51,) * 3, WHITE]),
        (grey([False, True], bool), ".png", [BLACK, WHITE]),
        (paletted(False), ".png", [RED, (0, 0, 255)]),
        (paletted(True), ".png", [RED, WHITE]),
        (Image.new("RGBA", (1, 1), (255, 0, 0, 255)), ".png", [RED]),
        (Image.new("RGBA", (1, 1), (255, 0, 0, 0)), ".png", [WHITE]),
        (Image.new("RGBA", (1, 1), (0, 0, 0, 51)), ".png", [(204,) * 3]),
        (Image.new("LA", (1, 1), (0, 0)), ".png", [WHITE]),
        (Image.new("CMYK", (1, 1), (0, 255, 255, 0)), ".tif", [RED]),
        (Image.new("RGB", (1, 1), RED), ".bmp", [RED]),
        (Image.new("YCbCr", (1, 1), (255, 128, 128)), ".jpg", [WHITE]),
    ],
)  # fmt: skip
def test_what_one_sees(picture: Image.Image, suffix: str, pixels: list[Any], tmp_path: Path) -> None:
    read = through_a_file(picture, suffix, tmp_path)
    assert read.mode == "RGB"
    assert [read.getpixel((x, 0)) for x in range(read.width)] == pixels


def test_a_camera_that_was_turned(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 1), RED)
    picture.putpixel((1, 0), WHITE)
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    read = through_a_file(picture, ".png", tmp_path, exif=exif)
    assert [read.getpixel((x, 0)) for x in (0, 1)] == [WHITE, RED]


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([0, 255], np.float32, "grey values from 0 to 255, and 0 to 1 are read"),
        ([-1, 1], np.float32, "grey values from -1 to 1"),
        ([0, float("nan")], np.float32, "grey values from nan to nan"),
        ([0, 70000], np.int32, "grey values from 0 to 70000, and 0 to 65535 are read"),
    ],
)
def test_greys_of_no_known_scale(values: list[float], kind: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        rgb(grey(values, kind))
    grey(values, kind).save(tmp_path / "a.tif")
    with pytest.raises(UsageError, match=rf"a\.tif cannot be read: {message}"):
        check_picture(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".gif", ".bmp", ".tif", ".webp"])
@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.9])
def test_cut_off_files_are_named(suffix: str, kept: float, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise).save(path)
    assert check_picture(path) == 1
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(UsageError, match=rf"picture .*/a{suffix} cannot be read: ") as raised:
        check_picture(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(UsageError, match=rf"picture .*/a{suffix} cannot be read: "):
        open_picture(str(path))


def test_a_damaged_png_and_what_is_no_picture(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[len(content) // 2] ^= 255
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "b.png").write_text("no picture")
    for name in ("a.png", "b.png"):
        with pytest.raises(UsageError, match=rf"{name} cannot be read: "):
            check_picture(tmp_path / name)


def test_pictures_of_a_data_set_are_bytes_with_a_name() -> None:
    file = io.BytesIO()
    Image.new("L", (1, 1), 255).save(file, "PNG")
    assert open_picture({"bytes": file.getvalue(), "path": None}).getpixel((0, 0)) == WHITE
    with pytest.raises(UsageError, match=r"picture cat\.png cannot be read: it is no picture, or damaged"):
        open_picture({"bytes": file.getvalue()[:9], "path": "cat.png"})
    with pytest.raises(UsageError, match=r"picture in image cannot be read"):
        open_picture({"bytes": b"x", "path": None}, "in image")
