"""Labelled texts from files of each format, folders and the published data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.texts.labelled_text import Rows, load, rows_of, sentences, write

from study.errors import UsageError
from study.tasks import SPLITS
from study.tasks.labelled_text.subsets import GLUE


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".json", ".jsonl"])
def test_a_file_of_each_format_reads_the_same(
    suffix: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    rows = rows_of(20, lambda i: i % 2, ("sentence1", "sentence2"))
    rows[3]["sentence1"] = 'the cat, "quickly"'
    task = load(checkpoints["bert"], write(tmp_path / f"rows{suffix}", rows))
    read = {
        (*texts, label)
        for split in SPLITS
        for *texts, label in zip(*task.splits[split].texts, task.splits[split].labels.tolist(), strict=True)
    }
    assert read == {(row["sentence1"], row["sentence2"], row["label"]) for row in rows}
    assert [task.size(split) for split in SPLITS] == [16, 2, 2]


def test_a_folder_with_splits_and_regression(checkpoints: dict[str, str], tmp_path: Path) -> None:
    for number, (split, count) in enumerate((("train", 12), ("validation", 5), ("test", 7))):
        rows = rows_of(count, lambda i: i / 2, ("text", "text2"), seed=number)
        write(tmp_path / "data" / f"{split}.tsv", rows)
    task = load(checkpoints["deberta-v2"], str(tmp_path / "data"))
    assert [task.size(split) for split in SPLITS] == [12, 5, 7]
    assert task.metric == "correlation" and task.chance == 0
    batch = task.examples("test", torch.arange(7))
    assert batch["labels"].tolist() == [i / 2 for i in range(7)]
    outputs = task.forward(task.model().eval(), batch)
    assert outputs.shape == (7, 1)
    losses = task.losses(outputs, batch)
    assert losses.tolist() == pytest.approx(((outputs[:, 0] - batch["labels"]) ** 2).tolist())
    assert task.predictions(outputs, batch).tolist() == outputs[:, 0].tolist()


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["no", "yes"], ("no", "yes")),
        ([0, 1, 2], ("0", "1", "2")),
        ([7, -3], ("-3", "7")),
        ([False, True], ("False", "True")),
        ([0.0, 1.0], ("0", "1")),
        ([0.5, 1.0], ()),
    ],
)
def test_whole_numbers_and_text_are_classes_and_fractions_are_not(
    labels: list[Any], classes: tuple[str, ...], checkpoints: dict[str, str], tmp_path: Path
) -> None:
    data = write(tmp_path / "rows.jsonl", rows_of(30, lambda i: labels[i % len(labels)]))
    task = load(checkpoints["bert"], data)
    assert task.subset.classes == classes
    assert task.model().num_labels == max(1, len(classes))


@pytest.mark.slow
def test_every_glue_task_by_its_name(checkpoints: dict[str, str], tmp_path: Path) -> None:
    """Local copies with GLUE's columns, labels as numbers or as names, and labels of the test hidden."""
    for name, subset in GLUE.items():
        count = max(len(subset.classes), 2)

        def label(i: int, count: int = count, hidden: bool = False) -> Any:
            return -1 if hidden else i % count

        for split, rows in (
            ("train", rows_of(30, label, subset.columns)),
            ("validation", rows_of(8, label, subset.columns, seed=1)),
            ("test", rows_of(5, lambda i: -1, subset.columns, seed=2)),
        ):
            if name == "rte" and split != "test":
                rows = [row | {"label": subset.classes[row["label"]]} for row in rows]
            if name == "mrpc" and split == "test":
                rows = [{k: v for k, v in row.items() if k != "label"} for row in rows]
            write(tmp_path / name / f"{split}.jsonl", rows)
        task = load(checkpoints["bert"], str(tmp_path / name), f"task.subset={name}")
        assert [task.size(split) for split in SPLITS] == [27, 3, 8], name
        assert task.splits["test"].labels.tolist() == [label(i) for i in range(8)]
        assert task.max_length == 24  # as far as this model reaches
        expected = {"cola": "matthews", "stsb": "correlation"}.get(name, "accuracy")
        assert task.metric == expected
        share = (
            task.splits["test"].labels.double().eq(task.splits["train"].labels.double().mode()[0]).double()
        )
        assert task.chance == (pytest.approx(share.mean().item()) if expected == "accuracy" else 0)


def test_the_published_data_set_has_its_hidden_test_and_matched_validation(
    checkpoints: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features(
        {
            "premise": Value("string"),
            "hypothesis": Value("string"),
            "label": ClassLabel(names=list(GLUE["mnli"].classes)),
        }
    )

    def part(count: int, seed: int, label: Callable[[int], int]) -> Dataset:
        return Dataset.from_list(rows_of(count, label, ("premise", "hypothesis"), seed), features=features)

    asked = []

    def load_dataset(source: str, subset: str | None) -> dict[str, Dataset]:
        asked.append((source, subset))
        return {
            "train": part(50, 0, lambda i: i % 3),
            "validation_matched": part(9, 1, lambda i: i % 3),
            "validation_mismatched": part(4, 2, lambda i: i % 3),
            "test_matched": part(4, 3, lambda i: -1),
        }

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    task = load(checkpoints["bert"], "nyu-mll/glue", "task.subset=mnli")
    assert asked == [("nyu-mll/glue", "mnli")]
    assert [task.size(split) for split in SPLITS] == [45, 5, 9]
    assert task.splits["test"].texts[0] == sentences(9, 1)


def test_mnli_in_a_folder(checkpoints: dict[str, str], tmp_path: Path) -> None:
    for number, (name, count) in enumerate(
        (("train", 50), ("validation_matched", 9), ("validation_mismatched", 4))
    ):
        write(tmp_path / f"{name}.jsonl", rows_of(count, lambda i: i % 3, ("premise", "hypothesis"), number))
    task = load(checkpoints["bert"], str(tmp_path), "task.subset=mnli")
    assert [task.size(split) for split in SPLITS] == [45, 5, 9]
    assert task.splits["test"].texts[0] == sentences(9, 1)


@pytest.mark.parametrize("suffix", [".csv", ".tsv"])
def test_words_that_pandas_takes_for_missing_are_text(
    suffix: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    words = ["None", "NA", "null", "nan", "N/A", "n/a", "NaN", "<NA>", "a", "b"]
    rows: Rows = [{"text": word, "text2": "", "label": i % 2} for i, word in enumerate(words)]
    task = load(checkpoints["bert"], write(tmp_path / f"rows{suffix}", rows))
    assert {text for split in SPLITS for text in task.splits[split].texts[0]} == set(words)
    assert {text for split in SPLITS for text in task.splits[split].texts[1]} == {""}
    rows[4]["label"] = "NA"
    with pytest.raises(UsageError, match="row 5 of train has no label"):
        load(checkpoints["bert"], write(tmp_path / f"other{suffix}", rows))
