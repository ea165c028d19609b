"""What a data set lacks is held out of its training rows: the same rows everywhere and ever after."""

from __future__ import annotations

import hashlib
import json

import pytest
from datasets import ClassLabel, Dataset, DatasetDict, Features, Image, Value

from study.errors import UsageError
from study.tasks.loading import images
from study.tasks.loading.splits import HELD_OUT
from study.tasks.loading.text import MOST_HELD_OUT, text_splits


def texts(count: int, first: int = 0) -> Dataset:
    return Dataset.from_dict({"id": list(range(first, first + count))})


def pictures(labels: list[int]) -> Dataset:
    features = Features({"image": Image(), "label": ClassLabel(names=list("abc")), "id": Value("int64")})
    columns = {"image": [{"bytes": b"", "path": "none.png"}] * len(labels), "label": labels}
    return Dataset.from_dict(columns | {"id": list(range(len(labels)))}, features=features)


def digest(rows: Dataset) -> str:
    return hashlib.sha256(json.dumps(list(rows.with_format(None)["id"])).encode()).hexdigest()[:8]


def load_pictures(monkeypatch: pytest.MonkeyPatch, **parts: Dataset) -> dict[str, Dataset]:
    monkeypatch.setattr("datasets.load_dataset", lambda source: DatasetDict(parts))
    monkeypatch.setattr(images.AutoImageProcessor, "from_pretrained", lambda model: None)
    read = images.load_images("somewhere", "a model")
    assert read.classes == ["a", "b", "c"]
    return read.splits


@pytest.mark.parametrize(
    ("parts", "hidden", "sizes"),
    [
        (("train",), False, (85, 10, 11)),
        (("train", "validation"), False, (95, 7, 11)),
        (("train", "test"), False, (95, 11, 7)),
        (("train", "validation", "test"), False, (106, 7, 7)),
        (("train", "validation"), True, (95, 11, 7)),
        (("train",), True, (85, 10, 11)),
    ],
)
def test_texts(parts: tuple[str, ...], hidden: bool, sizes: tuple[int, int, int]) -> None:
    given = {name: texts(106 if name == "train" else 7, 1000 * i) for i, name in enumerate(parts)}
    splits = text_splits(given, hidden)
    rows = [set(splits[split]["id"]) for split in ("train", "valid", "test")]
    assert len(set.union(*rows)) == sum(len(part) for part in rows)
    if len(parts) > 1 and hidden:
        assert rows[2] == set(given["validation"]["id"])
    assert tuple(map(len, rows)) == sizes


def test_texts_are_held_out_up_to_a_number() -> None:
    splits = text_splits({"train": texts(30_000)})
    assert len(splits["test"]) == len(splits["valid"]) == MOST_HELD_OUT < HELD_OUT * 26_000
    with pytest.raises(UsageError, match="one row of training is too few"):
        text_splits({"train": texts(1)})


def test_images_are_held_out_with_the_same_share_of_each_class(monkeypatch: pytest.MonkeyPatch) -> None:
    labels = [0] * 600 + [1] * 300 + [2] * 100
    splits = load_pictures(monkeypatch, train=pictures(labels))
    assert {split: len(rows) for split, rows in splits.items()} == {"train": 810, "valid": 100, "test": 90}
    for rows in splits.values():
        present = rows.with_format(None)["label"][:]
        shares = [present.count(label) / len(present) for label in range(3)]
        assert shares == pytest.approx([0.6, 0.3, 0.1])


def test_the_same_rows_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """As before both kinds of data had one code for it; results with these rows are comparable."""
    of_texts = text_splits({"train": texts(1000)})
    assert {split: digest(rows) for split, rows in of_texts.items()} == {
        "train": "6f9c0435", "valid": "c84bb1b2", "test": "e764c74f",
    }  # fmt: skip
    of_images = load_pictures(monkeypatch, train=pictures([0, 1, 2] * 40))
    assert {split: digest(rows) for split, rows in of_images.items()} == {
        "train": "8db1e2dc", "valid": "c22e41aa", "test": "9fc2d19a",
    }  # fmt: skip


def test_a_class_with_too_few_images_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="no valid split can be held out: The least") as error:
        load_pictures(monkeypatch, train=pictures([0, 1] * 20 + [2]))
    assert "\n" not in str(error.value)
