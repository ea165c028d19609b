"""Classes or numbers: each way to write labels, what it is by the rule, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.texts.labelled_text import load, rows_of, write

from study.errors import UsageError
from study.tasks import SPLITS
from study.tasks.glue import Glue

CSV, JSON = "rows.csv", "rows.jsonl"


def of(labels: list[Any], file: str, model: str, folder: Path, *overrides: str, rows: int = 60) -> Glue:
    data = write(folder / file, rows_of(rows, lambda i: labels[i % len(labels)]))
    return load(model, data, *overrides)


@pytest.mark.parametrize(
    ("file", "labels", "classes"),
    [
        (CSV, ["no", "yes"], ["no", "yes"]),
        (CSV, [" no", "yes ", "no", "yes"], ["no", "yes"]),
        (CSV, ["0", "1"], ["0", "1"]),
        (CSV, ["0.0", "1.0"], ["0", "1"]),
        (CSV, ["0.0", "1", "1.0", "0"], ["0", "1"]),
        (CSV, [5, 4, 3, 2, 1], ["1", "2", "3", "4", "5"]),
        (CSV, ["True", "False"], ["False", "True"]),
        (CSV, ["true", "false"], ["false", "true"]),
        (CSV, ["3.25", "1", "0.5"], []),
        (CSV, ["1e-3", "2"], []),
        (CSV, ["+1", "-1"], ["-1", "1"]),
        (CSV, ["e4", "e5", "."], [".", "e4", "e5"]),
        (CSV, [".5", "5.", "1e3"], []),
        (CSV, ["01", "02"], ["01", "02"]),  # not numbers: nobody counts so
        (CSV, [f"{i}.0" for i in range(30)], []),
        (JSON, [True, False], ["False", "True"]),
        (JSON, [0.0, 1.0], ["0", "1"]),
        (JSON, [0, 1.0], ["0", "1"]),
        (JSON, [1, 2, 2.5], []),
        (JSON, ["0.0", "1.0"], ["0", "1"]),
        (JSON, [10, 9, 100], ["9", "10", "100"]),
    ],
)
def test_by_the_rule(
    file: str, labels: list[Any], classes: list[str], checkpoints: dict[str, str], tmp_path: Path
) -> None:
    task = of(labels, file, checkpoints["bert"], tmp_path)
    assert list(task.subset.classes) == classes
    summary = task.data_summary()
    assert summary.kind == ("classification" if classes else "regression")
    assert list(summary.classes) == classes
    if classes:
        given = sorted(
            str(label).strip().lower().removesuffix(".0").removeprefix("+") for label in labels * 60
        )
        read = sorted(classes[i].lower() for split in SPLITS for i in task.splits[split].labels.tolist())
        assert set(read) == set(given) and sum(summary.classes.values()) == summary.rows["train"]


@pytest.mark.parametrize(
    ("kind", "labels", "classes"),
    [
        ("classification", ["1", "2", "n/a"], ["1", "2", "n/a"]),
        ("classification", ["Yes", "yes"], ["Yes", "yes"]),
        ("classification", ["None", "some"], ["None", "some"]),
        ("classification", ["0.5", "1.5"], ["0.5", "1.5"]),
        ("classification", [f"w{i}" for i in range(30)], sorted(f"w{i}" for i in range(30))),
        ("regression", ["0", "1"], []),
        ("regression", ["1", "2", "3", "4", "5"], []),
    ],
)
def test_as_it_is_set(
    kind: str, labels: list[str], classes: list[str], checkpoints: dict[str, str], tmp_path: Path
) -> None:
    task = of(labels, CSV, checkpoints["bert"], tmp_path, f"task.kind={kind}")
    assert list(task.subset.classes) == classes
    assert f"task.kind={kind}" in task.data_summary().notes


@pytest.mark.parametrize(
    ("file", "labels", "overrides", "message"),
    [
        (CSV, ["3.5", "4.5", "n/a"], [],
         r"label 'n/a' in row 3 of train is not a number, 40 of 60 are; .*task\.kind=classification"),
        (CSV, ["3,5", "4,5"], [], r"label '3,5' in row 1 of train has a decimal comma; write a point"),
        (CSV, ["Yes", "yes"], [], r"labels 'Yes' and 'yes' differ in capital letters, spaces or"),
        (CSV, ["true", "True", "False"], [], r"labels 'True' and 'true' differ"),
        (CSV, ["not good", "not  good", "good"], [], r"labels 'not  good' and 'not good' differ"),
        (CSV, ["yes\u200b", "yes", "no"], [], r"labels 'yes' and 'yes\\u200b' differ"),
        (CSV, ["caf\u00e9", "cafe\u0301", "tea"], [], r"differ in capital letters"),
        (CSV, ["x"], [], r"every training label is 'x'; needs two or more"),
        (CSV, ["1", "1.0"], [], r"every training label is 1; needs two or more"),
        (CSV, ["2.5"], [], r"every training label is '2\.5'; needs two or more"),
        (CSV, ["x", "y", ""], [], r"row 3 of train has no label, nor have 19 others$"),
        (CSV, ["x", "y", "NaN"], [], r"row 3 of train has no label, .*; task.kind=classification"),
        (CSV, [f"w{i}" for i in range(30)], [], r"30 different labels in 60 training rows; is this"),
        (CSV, list(range(30)), [], r"30 different labels .*or task\.kind=regression to predict numbers"),
        (JSON, [True, 0], [], r"column label mixes kinds of values: row 1 is true or false .* a number"),
        (JSON, [1, "x"], [], r"column label mixes kinds of values: row 1 is a number"),
        (JSON, [1.5, float("nan")], [], r"row 2 of train has no label"),
        (CSV, ["a", "b"], ["task.kind=regression"], r"label 'a' in row 1 of train is not a number$"),
        (CSV, ["1,5", "2,5"], ["task.kind=regression"], r"label '1,5' .* a number; write a decimal point"),
        (CSV, ["label", "x", "y"], ["task.label_column=lable"],
         r"no label column \(lable\); has text, label; nearest: label; task\.label_column=NAME"),
        (CSV, ["x", "y"], ["task.text_column=txt"], r"no text column \(txt\); .*; nearest: text;"),
        (CSV, ["x", "y"], ["task.text_column=label"], r"label cannot be both text and label"),
        (CSV, ["x", "y"], ["task.text_column=[text,text]"], r"text cannot be both texts of a pair"),
        (CSV, ["x", "y"], ["task.text_column=[a,b,c]"], r"a text, or a pair of texts, not more"),
    ],
)  # fmt: skip
def test_refused(
    file: str,
    labels: list[Any],
    overrides: list[str],
    message: str,
    checkpoints: dict[str, str],
    tmp_path: Path,
) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        of(labels, file, checkpoints["bert"], tmp_path, *overrides)
    assert "\n" not in str(raised.value)


def test_whole_numbers_of_many_rows_each_are_classes(checkpoints: dict[str, str], tmp_path: Path) -> None:
    task = of(list(range(30)), CSV, checkpoints["bert"], tmp_path, rows=30 * 5)
    assert len(task.subset.classes) == 30


@pytest.mark.parametrize("file", ["train.jsonl", "train.csv"])
def test_a_repeated_row_of_names_is_no_class(file: str, checkpoints: dict[str, str], tmp_path: Path) -> None:
    rows = rows_of(20, lambda i: "xy"[i % 2])
    rows[9] = {"text": "text", "label": "label"}
    write(tmp_path / file, rows)
    with pytest.raises(UsageError, match=r"row 10 of train repeats the names|line 11 repeats the header"):
        load(checkpoints["bert"], str(tmp_path))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_class_outside_training_only(split: str, checkpoints: dict[str, str], tmp_path: Path) -> None:
    write(tmp_path / "train.csv", rows_of(20, lambda i: "xy"[i % 2]))
    write(tmp_path / f"{split}.csv", rows_of(4, lambda i: "xyxz"[i]))
    with pytest.raises(UsageError, match=rf"label 'z' in row 4 of {split} is none of: x, y"):
        load(checkpoints["bert"], str(tmp_path))


def test_a_class_whose_rows_are_all_held_out_is_named(checkpoints: dict[str, str], tmp_path: Path) -> None:
    rows = rows_of(30, lambda i: "xy"[i % 2])
    whole = load(checkpoints["bert"], write(tmp_path / "rows.csv", rows))
    held_out = whole.splits["test"].texts[0][0]
    number = [row["text"] for row in rows].index(held_out)
    rows[number]["label"] = "z"
    summary = load(checkpoints["bert"], write(tmp_path / "rows.csv", rows)).data_summary()
    assert summary.classes["z"] == 0 and "no training row is left of class z" in summary.notes


@pytest.mark.parametrize("header", ["Text,LABEL", " text ,label ", "text,label", "TEXT,Label"])
def test_columns_are_found_in_any_case(header: str, checkpoints: dict[str, str], tmp_path: Path) -> None:
    lines = "".join(f"the cat {i},{'xy'[i % 2]}\n" for i in range(20))
    (tmp_path / "rows.csv").write_text(f"{header}\n{lines}")
    task = load(checkpoints["bert"], str(tmp_path / "rows.csv"))
    assert task.subset.classes == ("x", "y")


def test_splits_whose_columns_differ_in_case_are_one_table(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    for name, header in (("train", "Text,Label"), ("validation", "text,label"), ("test", "TEXT,LABEL")):
        lines = "".join(f"{name} {i},{'xy'[i % 2]}\n" for i in range(4))
        (tmp_path / f"{name}.csv").write_text(f"{header}\n{lines}")
    task = load(checkpoints["bert"], str(tmp_path))
    for split, name in (("train", "train"), ("valid", "validation"), ("test", "test")):
        assert task.splits[split].texts[0] == [f"{name} {i}" for i in range(4)]
        assert task.splits[split].labels.tolist() == [0, 1, 0, 1]


def test_glue_in_its_own_files(checkpoints: dict[str, str], tmp_path: Path) -> None:
    """Its TSV has marks that nobody closes; its columns may be named."""
    texts = [f'the {i} "cat' if i % 3 else f'"dog {i}' for i in range(63)]
    lines = "".join(f"{text}\tit sat\t{i % 3}\n" for i, text in enumerate(texts))
    (tmp_path / "train.tsv").write_text(f"sentence1\tsentence2\tgold_label\n{lines}")
    columns = ["task.text_column=[sentence1,sentence2]", "task.label_column=gold_label"]
    task = load(checkpoints["bert"], str(tmp_path / "train.tsv"), "task.subset=mnli", *columns)
    read = {
        text: label
        for split in SPLITS
        for text, label in zip(task.splits[split].texts[0], task.splits[split].labels.tolist(), strict=True)
    }
    assert read == {text: i % 3 for i, text in enumerate(texts)}
    with pytest.raises(UsageError, match="task.kind=regression: mnli of GLUE is classification"):
        load(checkpoints["bert"], str(tmp_path), "task.subset=mnli", "task.kind=regression")


def test_regression_is_of_the_numbers_given(checkpoints: dict[str, str], tmp_path: Path) -> None:
    task = of(["1", "2", "3", "4.0", "5"], CSV, checkpoints["bert"], tmp_path, "task.kind=regression")
    values = sorted(value for split in SPLITS for value in task.splits[split].labels.tolist())
    assert values == sorted([1.0, 2, 3, 4, 5] * 12)
