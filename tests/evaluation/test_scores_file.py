"""benchmarks.csv: what is written is read, with the types of its columns."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from study.errors import UsageError
from study.evaluation.scores_file import COLUMNS, Score, read_scores, write_scores

BASE = Score(
    "", "base", None, None, 0, "mmlu", "acc", 0.1 + 0.2, math.nan, 20, "a/b, c", "float32", "base", "0.4.13"
)
RUN = Score(
    "0a1", "lora", 1e-05, 3, 12, "arc", "acc", math.nan, 0.5, 20, "a/b, c", "float32", "merged", "0.4.13"
)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.csv"
    assert read_scores(path) == []
    write_scores(path, [BASE, RUN])
    text = path.read_text()
    assert (
        text.splitlines()[1] == ',base,,,0,mmlu,acc,0.30000000000000004,nan,20,"a/b, c",float32,base,0.4.13'
    )
    scores = read_scores(path)
    assert repr(scores) == repr([BASE, RUN])  # nan is not equal to itself
    write_scores(path, scores)
    assert path.read_text() == text


@pytest.mark.parametrize("row", ["0a1,lora,fast" + "," * 11, "0a1,lora"])
def test_rows_that_cannot_be_read_are_one_line(row: str, tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.csv"
    path.write_text(",".join(COLUMNS) + f"\n{row}\n")
    with pytest.raises(UsageError, match="cannot be read: .*; move it out of the way") as raised:
        read_scores(path)
    assert "\n" not in str(raised.value)
