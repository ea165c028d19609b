"""Data and settings that are refused in one line, before any work."""

from __future__ import annotations

import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.texts.labelled_text import load, rows_of, write
from transformers import PreTrainedTokenizerFast

from study import config, tasks
from study.errors import UsageError


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentence": "the cat"}, r"no text column \(text or sentence1 or .*\); has sentense, label"),
        ({"label": 0}, r"no label column \(label\); has text, labels; nearest: labels"),
        ({"row": {"text": None}}, r"row 3 of train has no text"),
        ({"row": {"text": "  "}}, r"row 3 of train: text empty"),
        ({"row": {"label": None}}, r"row 3 of train has no label"),
        ({"labels": [1]}, r"every training label is 1; needs two or more"),
        ({"labels": [[0], [1]]}, r"a label is text or a number"),
        ({"labels": [0.5, math.inf]}, r"label inf in row 2 of train is not a number"),
    ],
)
def test_rows_that_cannot_be_learnt_from(
    change: dict[str, Any], message: str, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    labels = change.get("labels", ["x", "y"])
    rows = rows_of(20, lambda i: labels[i % len(labels)])
    if "sentence" in change:
        rows = [{"sentense": row["text"], "label": row["label"]} for row in rows]
    if "label" in change:
        rows = [{"text": row["text"], "labels": row["label"]} for row in rows]
    rows[2] |= change.get("row", {})
    with pytest.raises(UsageError, match=message) as caught:
        load(checkpoints["bert"], write(tmp_path / "rows.jsonl", rows))
    assert str(caught.value).startswith("task.data=") and "\n" not in str(caught.value)


def test_a_padding_token_that_the_model_does_not_know(checkpoints: dict[str, str], tmp_path: Path) -> None:
    data = write(tmp_path / "rows.csv", rows_of(20, lambda i: i % 2))
    model = tmp_path / "llama"
    shutil.copytree(checkpoints["llama"], model)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(model)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    tokenizer.save_pretrained(model)
    count = len(tokenizer) - 1
    with pytest.raises(UsageError, match=rf"pads with token {count}, the model knows {count}; enlarge"):
        load(str(model), data)


def test_labels_that_training_does_not_have(checkpoints: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of(10, lambda i: "xy"[i % 2]))
    write(tmp_path / "test.csv", rows_of(4, lambda i: "xyxz"[i]))
    with pytest.raises(UsageError, match=r"label 'z' in row 4 of test is none of: x, y"):
        load(checkpoints["bert"], str(tmp_path))
    data = write(tmp_path / "cola.csv", rows_of(10, lambda i: i % 3, ("sentence",)))
    with pytest.raises(UsageError, match=r"label 2 in row 3 of train is none of: unacceptable, acceptable"):
        load(checkpoints["bert"], data, "task.subset=cola")
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(UsageError, match="the file is empty"):
        load(checkpoints["bert"], str(tmp_path / "empty.csv"))


def test_subsets_that_are_not_there(checkpoints: dict[str, str]) -> None:
    for subset, message in (
        ("mnle", r"task\.subset=mnle: not one of GLUE's; nearest: mnli"),
        ("topic", r"task\.subset=topic: not one of GLUE's; topic is at scale=mini"),
        ("null", r"task\.subset is missing: one of GLUE's, mnli, sst2"),
    ):
        with pytest.raises(UsageError, match=message):
            load(checkpoints["bert"], "nyu-mll/glue", f"task.subset={subset}")
    for subset, message in (
        ("topics", r"task\.subset=topics: not one of the miniature's; nearest: topic"),
        ("cola", r"task\.subset=cola: not one of the miniature's; cola is at scale=paper"),
    ):
        with pytest.raises(UsageError, match=message):
            tasks.load(config.load("lr_grid", ["task=glue", f"task.subset={subset}"]).task)
