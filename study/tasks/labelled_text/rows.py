"""Labelled texts, or pairs of texts, from a hub data set or local files, refused where they are not whole.

Labels that are text, integers or booleans are classes; floating-point ones are regressed on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from study.errors import UsageError
from study.tasks.labelled_text.subsets import CORRELATIONS, GLUE, Subset, choose
from study.tasks.loading.text import MATCHED, SPLIT_NAMES, column, load_rows, text_splits

if TYPE_CHECKING:
    from datasets import Dataset

HUB = ("nyu-mll/glue", "glue")
"""Names of GLUE on the hub; any other data set there may have a `subset` of its own."""

PAIRS = {
    "text": "text2", "sentence1": "sentence2", "premise": "hypothesis", "question1": "question2",
    "question": "sentence", "sentence": "sentence2",
}  # fmt: skip
"""Columns that hold the (first) text, and the second one's beside it, in the order they are tried."""


@dataclass(frozen=True)
class Rows:
    """One split: one or two columns of texts, and labels, (rows,): numbers of classes, or what to predict."""

    texts: Sequence[Sequence[str]]
    labels: Tensor


def load_labelled(source: str, name: str | None) -> tuple[Subset, dict[str, Rows]]:
    """Splits of a hub data set or local files, and what kind of task they are.

    Where the test rows have no labels (GLUE keeps its own), the validation rows are the test, and rows held
    out of training are for validation.

    Args:
        source: a data set's hub name, a file, or a folder.
        name: one of GLUE's subsets, or a hub data set's configuration; None where there is none.

    Raises:
        UsageError: if the data cannot be read, lack a column, or have rows that nothing can be learnt from.
    """
    is_glue = source in HUB or (name is not None and Path(source).expanduser().exists())
    subset = choose(name, GLUE, "GLUE") if is_glue else Subset()
    parts = _labelled_parts(load_rows(source, name), source)
    test_is_hidden = "test" in parts and _is_hidden(parts["test"])
    if test_is_hidden:
        del parts["test"]
    columns = subset.columns or _text_columns(parts["train"], source)
    for split, rows in parts.items():
        _check_rows(rows, columns, source, split)
    if is_glue:
        class_numbers: dict[Any, int] = {label: i for i, label in enumerate(subset.classes)}
        class_numbers |= {i: i for i in range(len(subset.classes))}
    else:
        class_numbers = _class_numbers(parts["train"], source)
        classes = tuple(str(label) for label in class_numbers)
        subset = Subset(columns, classes, metrics=("accuracy",) if classes else CORRELATIONS)
    for split, rows in parts.items():
        _check_labels(rows, class_numbers, subset, source, split)
    splits = text_splits(parts, test_is_hidden or (is_glue and "test" not in parts))
    return subset, {
        split: Rows([rows[column][:] for column in columns], _targets(rows["label"][:], class_numbers))
        for split, rows in splits.items()
    }


def _labelled_parts(parts: Mapping[str, Dataset], source: str) -> dict[str, Dataset]:
    """Train, validation and test, as far as they are there; of MNLI's two validations the matched one."""
    if "train" not in parts:
        raise UsageError(f"task.data={source}: no train split; has {', '.join(parts)}")
    if MATCHED in parts:
        parts = {**parts, "validation": parts[MATCHED]}
    return {split: parts[split] for split in SPLIT_NAMES if split in parts}


def _text_columns(rows: Dataset, source: str) -> tuple[str, ...]:
    first = column(rows, tuple(PAIRS), "text", source)
    return (first, PAIRS[first]) if PAIRS[first] in rows.column_names else (first,)


def _is_hidden(rows: Dataset) -> bool:
    return "label" not in rows.column_names or all(label in (-1, None) for label in rows["label"][:])


def _check_rows(rows: Dataset, columns: Sequence[str], source: str, split: str) -> None:
    """Refuses missing columns, rows without text or label, and text that is something else."""
    for name in columns:
        column(rows, [name], "text", source)
    label = column(rows, ["label"], "label", source)
    for number, texts in enumerate(zip(*(rows[name][:] for name in columns), strict=True), 1):
        where = f"task.data={source}: row {number} of {split}"
        for name, text in zip(columns, texts, strict=True):
            if text is None:
                raise UsageError(f"{where} has no {name}")
            if not isinstance(text, str):
                raise UsageError(f"{where}: {name} is {text!r}, not text")
        if not any(text.strip() for text in texts):  # one of two may be: some of QQP's questions are
            raise UsageError(f"{where}: {' and '.join(columns)} empty")
    for number, value in enumerate(rows[label][:], 1):
        if value is None or value != value:
            raise UsageError(f"task.data={source}: row {number} of {split} has no label")


def _class_numbers(rows: Dataset, source: str) -> dict[Any, int]:
    """Number of each class by its label; {} for labels to regress on."""
    from datasets import ClassLabel

    feature = rows.features["label"]
    if isinstance(feature, ClassLabel):
        return {i: i for i in range(feature.num_classes)}
    if "float" in str(getattr(feature, "dtype", "")):
        return {}
    try:
        values = sorted(set(rows["label"][:]))
    except TypeError:
        raise UsageError(f"task.data={source}: a label is text or a number, not {feature}") from None
    if len(values) < 2:
        raise UsageError(f"task.data={source}: every training label is {values[0]!r}; needs two or more")
    return {value: i for i, value in enumerate(values)}


def _check_labels(
    rows: Dataset, class_numbers: Mapping[Any, int], subset: Subset, source: str, split: str
) -> None:
    for number, label in enumerate(rows["label"][:], 1):
        where = f"task.data={source}: label {label!r} in row {number} of {split}"
        if subset.classes and label not in class_numbers:
            raise UsageError(f"{where} is none of: {', '.join(subset.classes)}")
        if not subset.classes and not (isinstance(label, int | float) and math.isfinite(label)):
            raise UsageError(f"{where} is not a number")


def _targets(labels: Sequence[Any], class_numbers: Mapping[Any, int]) -> Tensor:
    return torch.tensor([class_numbers[label] if class_numbers else float(label) for label in labels])
