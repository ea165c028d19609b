"""What is wrong with subjects, prompts or judges is said in one line, before any work starts."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support import tiny_subjects

from study import config
from study.errors import UsageError
from study.tasks.subject import Subject

from .conftest import QUICK, arguments, of

PROMPTS = "data/dataset/prompts_and_classes.txt"


def write(root: Path, text: str) -> None:
    (root / PROMPTS).write_text(text)


def edit(root: Path, old: str, new: str) -> None:
    text = (root / PROMPTS).read_text()
    assert old in text
    write(root, text.replace(old, new, 1))


def empty(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no prompts": (lambda root: (root / PROMPTS).unlink(), r"no prompts_and_classes\.txt, which says"),
    "no folder": (lambda root: shutil.rmtree(root / "data"), r"task\.data=.*data: no such folder"),
    "an empty folder": (
        lambda root: [shutil.rmtree(root / "data/dataset" / name) for name in tiny_subjects.PICTURES],
        r"dataset holds no folder of pictures",
    ),
    "a subject without pictures": (
        lambda root: empty(root / "data/dataset/cap"), r"dataset/cap holds no picture",
    ),
    "a picture that is damaged": (
        lambda root: (root / "data/dataset/cap/00.jpg").write_bytes(b"no picture"),
        r"cap/00\.jpg cannot be read: it is no picture, or damaged",
    ),
    "a picture that is cut off": (
        lambda root: (root / "data/dataset/cap/00.jpg").write_bytes(
            (root / "data/dataset/cap/00.jpg").read_bytes()[:900]
        ),
        r"cap/00\.jpg cannot be read",
    ),
    "a picture of a kind that cannot be read": (
        lambda root: (root / "data/dataset/cap/x.heic").touch(),
        r"x\.heic cannot be read; save it as PNG or JPEG",
    ),
    "pictures in a further folder": (
        lambda root: (root / "data/dataset/cap/more").mkdir(), r"cap/more is a folder; pictures lie in",
    ),
    "a class that is not said": (
        lambda root: edit(root, "cap,hat\n", ""), r"says no class for cap; add a line `cap,CLASS`",
    ),
    "two classes": (
        lambda root: edit(root, "cap,hat\n", "cap,hat\ncap,cat\n"), r"line 5: cap is a hat already",
    ),
    "a line without a class": (
        lambda root: edit(root, "cap,hat", "cap"), r"line 4: 'cap' is not `subject,class`",
    ),
    "no classes": (lambda root: write(root, "Prompts\na {0} {1}\n"), r"has no class below `Classes`"),
    "no prompt": (
        lambda root: write(root, "Classes\ncap,hat\ncat2,cat\none,hat\n"), r"has no prompt below `Prompts`",
    ),
    "a prompt without the subject": (
        lambda root: edit(root, "'a red {0} {1}'", "'a red {1}'"), r"line 15: 'a red \{1\}' needs \{0\}",
    ),
    "a prompt with something else": (
        lambda root: edit(root, "'a red {0} {1}'", "'a red {0} {1} {2}'"), r"'a red \{0\} \{1\} \{2\}' needs",
    ),
    "no headings": (lambda root: write(root, "a {0} {1}\n"), r"line 1: .* stands before a heading"),
    "fewer prompts of live subjects": (
        lambda root: edit(root, "'a green {0} {1}'.format(unique_token, class_token)\n", ""),
        r"has 2 object prompts and 1 of live subjects",
    ),
    "prompts that are no text": (
        lambda root: (root / PROMPTS).write_bytes(b"\xff\xfe\x00"),
        r"prompts_and_classes\.txt cannot be read",
    ),
    "a prompt that is too long": (
        lambda root: edit(root, "a red {0} {1}", "a red {0} {1}" + " and a red hat" * 20),
        r"has 8\d tokens, of which the text model reads 40; shorten it",
    ),
    "DINO without its processor": (
        lambda root: (root / "dino/preprocessor_config.json").unlink(),
        r"task\.dino=.*its image processor cannot be loaded",
    ),
    "a CLIP that is none": (
        lambda root: shutil.copy(root / "dino/config.json", root / "clip/config.json"),
        r"task\.clip_model=.*: a vit; give a CLIP model",
    ),
    "no CLIP": (lambda root: shutil.rmtree(root / "clip"), r"task\.clip_model=.*: no such folder"),
    "pictures that DINO does not take": (
        lambda root: (root / "dino/preprocessor_config.json").write_text(
            (root / "dino/preprocessor_config.json").read_text().replace('"height": 16', '"height": 24')
        ),
        r"task\.dino: takes no pictures as its processor makes them",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_file_is_said_in_one_line(case: str, files: Path, tmp_path: Path) -> None:
    root = tmp_path / "files"
    shutil.copytree(files, root)
    break_it, words = BROKEN[case]
    break_it(root)
    with pytest.raises(UsageError, match=words) as refused:
        load(root)
    assert "\n" not in str(refused.value)


def load(root: Path, *more: str) -> Subject:
    return of(config.load("lr_grid", arguments(root, *more)))


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("task.subset=dog", r"task\.subset=dog: no such subject; known: cap, cat2, one"),
        ("task.batch_size=3", r"task\.batch_size=3: half of a batch shows the subject"),
        ("task.class_pictures=-1", r"task\.class_pictures=-1 must be zero or more"),
        ("task.batch_size=10", r"task\.class_pictures=4: half a batch has 5"),
        ("task.sampling_steps=1001", r"task\.sampling_steps=1001: the model knows 1000 times at most"),
        ("task.dino=null", r"task\.dino: name one"),
        ("task.clip_model=null", r"task\.clip_model: name one"),
        ("task.lpips=./nowhere.pth", r"task\.lpips=\./nowhere\.pth: no such file"),
        ("task.subject_token=''", r"task\.subject_token='': give a word"),
        ("task.subject_token=qwertz", r"task\.subject_token=qwertz: the model's tokenizer does not know it"),
        ("task.segmenter=x", r"task\.segmenter=x reaches nothing"),
        ("task.data=dreambooth", r"task\.data=dreambooth: no folder; give a folder of subjects"),
    ],
)
def test_a_setting_that_cannot_work_is_named(override: str, words: str, files: Path) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        load(files, override)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("task.subset=person-99", r"no such subject; known: person-0 to person-23"),
        ("task.dino=x", r"task\.dino=x reaches nothing"),
        ("task.data=pictures/mine", r"task\.model=shipped: it knows portraits"),
    ],
)
def test_what_the_miniature_does_not_have_is_refused(override: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        of(config.load("lr_grid", [*QUICK, override]))


def test_pictures_of_any_kind_are_read_as_the_eye_sees_them(files: Path, tmp_path: Path) -> None:
    """Grey, transparent, turned by the camera: each as its plain RGB twin."""
    root = Path(shutil.copytree(files, tmp_path / "files"))
    folder = root / "data/dataset/cap"
    empty(folder)
    grey = np.random.default_rng(0).integers(0, 256, (36, 40), dtype=np.uint8)
    plain = Image.fromarray(grey).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees, clockwise
    alpha = plain.convert("RGBA")
    alpha.putalpha(255)
    plain.save(folder / "0.png")
    Image.fromarray(grey).save(folder / "1.png")
    alpha.save(folder / "2.png")
    plain.rotate(90, expand=True).save(folder / "3.png", exif=turned)
    task = load(root)
    found = task.data.pictures(task.data.trained_on[0])
    assert found.shape == (4, 3, 32, 32) and all(torch.equal(each, found[0]) for each in found)


def test_what_was_decided_by_rule_is_said(files: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(files, tmp_path / "files"))
    Image.new("RGB", (20, 30)).save(root / "data/dataset/cap/03.png")
    summary = load(root).data_summary()
    notes = "\n".join(summary.notes)
    assert "one picture alone, which tells a subject from its background badly: one" in notes
    assert "subjects without a folder, left out: gone" in notes
    assert "1 pictures are smaller than 32x32 pixels, and are enlarged" in notes
    assert "pictures are not square, and are cut to the middle" in notes
    assert summary.lengths is not None and summary.lengths.limit == 40 and not summary.lengths.cut


def test_a_word_that_is_several_tokens_is_said_and_trains(files: Path) -> None:
    """As DreamBooth's own words may be."""
    notes = load(files, "task.subject_token='qwe sks'").data_summary().notes
    assert "task.subject_token=qwe sks is 2 tokens to the model: qwe sks" in notes
    assert not any("tokens" in note for note in load(files).data_summary().notes)


def test_prompts_in_plain_lines_are_read_too(files: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(files, tmp_path / "files"))
    write(root, "Classes\ncap,hat\ncat2,cat\none,hat\nPrompts\na {0} {1} in red\n\na blue {0} {1}\n")
    task = load(root)
    found = {task.examples_of["valid"][row].prompt for row in task.rows("valid", 1).tolist()}
    assert found == {"a qwe cat in red", "a blue qwe cat", "a cat in red"}
