"""What is said of instructions, beside what one counts by hand; columns of other names."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.texts.instructions import ROWS, load, paper, write

from study.errors import UsageError


def test_of_instructions(checkpoints: dict[str, str], tmp_path: Path) -> None:
    rows = [{"ask": row["instruction"], "with": row["input"], "say": row["output"]} for row in ROWS]
    rows[4]["say"] = ""
    rows[5]["say"] = "one " * 300
    columns = ["task.text_column=[ask,with]", "task.label_column=say"]
    task = paper(checkpoints["gpt2"], write(tmp_path / "rows.json", rows), *columns)
    summary = task.data_summary()
    assert summary.columns == ("instruction: ask", "input: with", "output: say")
    assert sum(summary.rows.values()) == 39
    assert summary.lengths is not None and summary.lengths.longest > 300
    assert (summary.lengths.limit, summary.lengths.cut) == (128, 1)
    assert "rows left out: 1 without an output, first row 5 of train" in summary.notes


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["task.text_column=asked"],
            r"no instruction column \(asked\); .*; nearest: ask; task.text_column=NAME",
        ),
        (
            ["task.label_column=says"],
            r"no output column \(says\); .*; nearest: say, ask; task.label_column=NAME",
        ),
        (["task.text_column=[ask,width]"], r"no input column \(width\); .*; nearest: with;"),
        (["task.text_column=[ask,with,say]"], "instruction and perhaps input, not more"),
        (["task.kind=regression"], "task.kind=regression reaches no run: task instruct"),
        (["task.text_column=lists"], r"lists holds lists or objects, such as \['a'\], not text"),
    ],
)
def test_refused(overrides: list[str], message: str, checkpoints: dict[str, str], tmp_path: Path) -> None:
    rows = [
        {"ask": row["instruction"], "with": row["input"], "say": row["output"], "lists": ["a"]}
        for row in ROWS
    ]
    columns = ["task.text_column=[ask,with]", "task.label_column=say"]
    with pytest.raises(UsageError, match=message):
        paper(checkpoints["gpt2"], write(tmp_path / "rows.json", rows), *columns, *overrides)


def test_settings_that_the_miniature_does_not_read() -> None:
    with pytest.raises(
        UsageError, match="task.label_column=say reaches nothing: the miniature's data, words"
    ):
        load("task.label_column=say")


def test_own_data_on_the_shipped_model(tmp_path: Path) -> None:
    task = load(f"task.data={write(tmp_path / 'rows.json', ROWS)}")
    assert task.data_summary().rows == {"train": 32, "valid": 4, "test": 4}


def test_a_row_without_an_instruction(tmp_path: Path) -> None:
    rows = [dict(row) for row in ROWS]
    rows[3] |= {"instruction": " ", "input": ""}
    with pytest.raises(UsageError, match="row 4 of train has no instruction"):
        load(f"task.data={write(tmp_path / 'rows.json', rows)}")
