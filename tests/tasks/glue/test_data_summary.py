"""What is said of labelled texts, beside what one counts by hand."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from statistics import fmean, pstdev

import pytest
from support.texts.labelled_text import load, rows_of, write

from study.tasks.data_summary import Lengths
from study.tasks.labelled_text import lengths


def test_of_labelled_texts(checkpoints: dict[str, str], tmp_path: Path) -> None:
    rows = rows_of(40, lambda i: float(i % 4 == 0), ("Premise", "hypothesis"))
    rows[7]["Premise"] = "the cat " * 15  # 30 words, and 3 tokens around the pair
    rows[7]["hypothesis"] = "it ran"
    task = load(checkpoints["bert"], write(tmp_path / "rows.csv", rows))
    summary = task.data_summary()
    assert summary.rows == {"train": 32, "valid": 4, "test": 4}
    assert summary.kind == "classification"
    assert summary.columns == ("text: Premise", "second text: hypothesis", "label: label")
    assert summary.classes == dict(sorted(Counter(map(str, task.splits["train"].labels.tolist())).items()))
    assert summary.lengths == Lengths("tokens", longest=35, limit=24, cut=1)
    assert summary.notes == (
        "labels 0.0, 1.0 read as 2 classes; task.kind=regression predicts numbers",
        "validation: 4 rows held out of training",
        "test: 4 rows held out of training",
    )


@pytest.mark.parametrize("first,step,is_said", [(-1.5, 1.0, False), (3.25, 0.25, True), (-150, 100.5, True)])
def test_numbers_that_a_head_is_slow_to_reach_are_said(
    first: float, step: float, is_said: bool, checkpoints: dict[str, str], tmp_path: Path
) -> None:
    rows = rows_of(40, lambda i: first + step * (i % 4))
    task = load(checkpoints["bert"], write(tmp_path / "rows.csv", rows), "task.kind=regression")
    labels = task.splits["train"].labels.tolist()
    said = f"labels have mean {fmean(labels):.3g} and standard deviation {pstdev(labels):.3g}: "
    assert [note.startswith(said) for note in task.data_summary().notes if "labels" in note] == [
        True
    ] * is_said


def test_tokens_of_very_many_rows_are_counted_in_the_first(
    checkpoints: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lengths, "MOST_COUNTED", 30)
    monkeypatch.setattr(lengths, "AT_A_TIME", 7)
    rows = rows_of(40, lambda i: "xy"[i % 2])
    summary = load(checkpoints["bert"], write(tmp_path / "rows.csv", rows)).data_summary()
    assert summary.notes[-1] == "tokens counted in the first 30 of 40 rows"
