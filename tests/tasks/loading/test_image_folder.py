"""Folders of pictures: the folders' names are the classes, and nothing in them is passed over in silence."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import datasets
import pytest
from PIL import Image

from study.errors import UsageError
from study.tasks.loading.image_folder import list_folder

NAMES = ["1.png", "10.png", "2.png", "Z.png", "a b.png"]


def draw(root: Path, names: Sequence[str], shade: int = 0) -> None:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), shade).save(path, "PNG")


def small(root: Path) -> str:
    draw(root, ["train/dark/1.png", "train/light/1.png", "test/dark/2.png", "test/light/2.png"])
    return str(root)


@pytest.mark.parametrize("prefix", ["", "train/", "Training/"])
def test_rows_are_in_the_order_in_which_datasets_has_them(
    prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that the same rows are held out as ever."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    root = tmp_path / "photos"
    draw(root, [f"{prefix}{label}/{name}" for label in ("b", "a", "a b") for name in NAMES])
    theirs = datasets.load_dataset("imagefolder", data_dir=str(root), cache_dir=str(tmp_path / "cache"))[
        "train"
    ]
    theirs = theirs.cast_column("image", datasets.Image(decode=False))
    rows = list_folder(str(root)).parts["train"]
    assert rows.features["label"].names == theirs.features["label"].names == ["a", "a b", "b"]
    assert rows["image"][:] == [cell["path"] for cell in theirs["image"][:]]
    assert rows["label"][:] == theirs["label"][:]


@pytest.mark.parametrize("name", ["validation", "valid", "val", "dev", "Validation"])
def test_splits_by_their_usual_names(name: str, tmp_path: Path) -> None:
    draw(tmp_path, [f"{name}/dark/3.png"])
    parts, notes = list_folder(small(tmp_path))
    assert {split: len(rows) for split, rows in parts.items()} == {"train": 2, "test": 2, "validation": 1}
    assert parts["validation"]["image"][:] == [str(tmp_path / name / "dark" / "3.png")]
    assert notes == []


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["train/3.png"], r"train/3\.png lies in no class's folder"),
        (["train/dark/sub/3.png"], r"train/dark/sub/3\.png lies in a folder inside class dark's"),
        (["test/Dark/3.png"], r"class Dark of test has no picture in train; nearest: dark"),
        (["test/grey/3.png"], r"class grey of test has no picture in train"),
        (["val/dark/3.png", "dev/dark/3.png"], r"dev/ and val/: keep one for validation"),
        (["train/dark/3.heic"], r"3\.heic cannot be read; save it as PNG or JPEG"),
    ],
)
def test_pictures_where_none_belong(more: list[str], message: str, tmp_path: Path) -> None:
    draw(tmp_path, more)
    with pytest.raises(UsageError, match=message) as raised:
        list_folder(small(tmp_path))
    assert "\n" not in str(raised.value)


def test_folders_without_pictures(tmp_path: Path) -> None:
    (tmp_path / "train" / "grey").mkdir(parents=True)
    with pytest.raises(UsageError, match="train/grey holds no picture; take the folder out"):
        list_folder(small(tmp_path))
    shutil.rmtree(tmp_path / "train")
    with pytest.raises(UsageError, match="has test, no train folder"):
        list_folder(str(tmp_path))
    draw(tmp_path, ["train/dark/1.png"])
    with pytest.raises(UsageError, match="pictures of 1 classes; needs train/CLASS"):
        list_folder(str(tmp_path))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="pictures of 0 classes"):
        list_folder(str(tmp_path / "empty"))


def test_files_that_are_no_pictures_are_said(tmp_path: Path) -> None:
    small(tmp_path)
    for name in ("train/dark/notes.txt", "train/light/Thumbs.db", "train/dark/.DS_Store"):
        (tmp_path / name).write_text("x")
    (tmp_path / "other").mkdir()
    assert list_folder(str(tmp_path)).notes == [
        "not read: other",
        "2 files that are no pictures left out: train/dark/notes.txt, train/light/Thumbs.db",
    ]


def test_a_picture_of_several_frames_is_said(tmp_path: Path) -> None:
    frames = [Image.new("L", (4, 4), shade) for shade in (0, 200)]
    small(tmp_path)
    frames[0].save(tmp_path / "train" / "dark" / "a.gif", save_all=True, append_images=frames[1:])
    (note,) = list_folder(str(tmp_path)).notes
    assert note.startswith("1 pictures have several frames, the first is read:") and "a.gif" in note


def test_every_picture_is_looked_at(tmp_path: Path) -> None:
    source = small(tmp_path)
    path = tmp_path / "test" / "light" / "2.png"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match=rf"picture {path} cannot be read"):
        list_folder(source)


def test_a_changed_picture_under_the_same_path_and_time_is_read(tmp_path: Path) -> None:
    from study.tasks.loading.pictures import open_picture

    source = small(tmp_path)
    path, other = tmp_path / "train" / "dark" / "1.png", tmp_path / "other.png"

    def first() -> object:
        return open_picture(list_folder(source).parts["train"]["image"][0]).getpixel((0, 0))

    assert first() == (0, 0, 0)
    Image.new("L", (4, 4), 200).save(other)
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    shutil.copy2(other, path)
    assert first() == (200, 200, 200)
