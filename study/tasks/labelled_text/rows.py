"""Labelled texts, or pairs of texts, from a hub data set or local files, refused where they are not whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from study.errors import UsageError
from study.settings import TaskSettings
from study.tasks.labelled_text.labels import REGRESSION, Labels, clean, number_in, understand
from study.tasks.labelled_text.subsets import CORRELATIONS, GLUE, Subset, choose
from study.tasks.loading.splits import check_train
from study.tasks.loading.text import MATCHED, SPLIT_NAMES, column, load_rows, split_notes, text_splits

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


@dataclass(frozen=True)
class LabelledText:
    """What was read.

    Attributes:
        subset: what kind of task it is.
        splits: by `train`, `valid`, `test`.
        columns: what was read from which column, in words.
        notes: what was decided by rule.
    """

    subset: Subset
    splits: dict[str, Rows]
    columns: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def load_labelled(settings: TaskSettings) -> LabelledText:
    """Splits of `task.data`, a hub data set or local files, and what kind of task they are.

    Where the test rows have no labels (GLUE keeps its own), the validation rows are the test, and rows held
    out of training are for validation.

    Raises:
        UsageError: if the data cannot be read, lack a column, or have rows that nothing can be learnt from.
    """
    source, name = settings.data, settings.subset
    is_glue = source in HUB or (name is not None and Path(source).expanduser().exists())
    subset = choose(name, GLUE, "GLUE") if is_glue else Subset()
    if is_glue and settings.kind not in (None, subset.kind):
        raise UsageError(f"task.kind={settings.kind}: {name} of GLUE is {subset.kind}")
    parts, columns, label, notes = _labelled_parts(settings, subset)
    test_is_hidden = "test" in parts and _is_hidden(parts["test"], label)
    if test_is_hidden:
        del parts["test"]
    given = {split: _labels(rows[label][:], settings, split) for split, rows in parts.items()}
    for split, rows in parts.items():
        _check_rows(rows, columns, label, source, split)
    notes += _stripped_note(parts, label)
    if is_glue:
        labels = _of_glue(subset)
    else:
        labels = _of_own(parts["train"], given["train"], label, settings)
        subset = Subset(columns, labels.classes, metrics=("accuracy",) if labels.classes else CORRELATIONS)
    whole = {
        split: _with_targets(rows, columns, _targets(given[split], labels, source, split))
        for split, rows in parts.items()
    }
    test_is_hidden = test_is_hidden or (is_glue and "test" not in parts)
    splits = text_splits(whole, test_is_hidden)
    notes += [*labels.notes, *split_notes(parts, splits, test_is_hidden)]
    made = {
        split: Rows([rows[f"text {i}"][:] for i in range(len(columns))], torch.tensor(rows["target"][:]))
        for split, rows in splits.items()
    }
    roles = ("text", "second text")[: len(columns)]
    used = [f"{role}: {name}" for role, name in zip(roles, columns, strict=True)]
    return LabelledText(subset, made, (*used, f"label: {label}"), tuple(notes))


def _labelled_parts(
    settings: TaskSettings, subset: Subset
) -> tuple[dict[str, Dataset], tuple[str, ...], str, list[str]]:
    """Train, validation and test, as far as they are there (of MNLI's two validations the matched one), whose
    columns are called alike; the columns of text, that of labels, and notes."""
    source = settings.data
    if len(settings.text_column) > 2:
        raise UsageError(f"task.text_column={settings.text_column}: a text, or a pair of texts, not more")
    columns = tuple(settings.text_column) or subset.columns
    label = settings.label_column or "label"
    wanted = {name.lower() for name in (*(columns or (*PAIRS, *PAIRS.values())), label)}
    parts, notes = load_rows(source, settings.subset, wanted)
    check_train(source, parts)
    if MATCHED in parts:
        parts = {**parts, "validation": parts[MATCHED]}
    parts = {split: parts[split] for split in SPLIT_NAMES if split in parts}
    columns = columns or _text_columns(parts["train"], source)
    columns = tuple(column(parts["train"], [name], "text", source) for name in columns)
    label = column(parts["train"], [label], "label", source)
    if len(set(columns)) < len(columns):
        raise UsageError(f"task.data={source}: {columns[0]} cannot be both texts of a pair")
    if label in columns:
        raise UsageError(f"task.data={source}: {label} cannot be both text and label")
    for split, rows in parts.items():
        called = {column(rows, [name], "text", source): name for name in columns}
        if split != "test" or any(name.strip().lower() == label.lower() for name in rows.column_names):
            called[column(rows, [label], "label", source)] = label
        parts[split] = rows.rename_columns({have: name for have, name in called.items() if have != name})
    return parts, columns, label, notes


def _text_columns(rows: Dataset, source: str) -> tuple[str, ...]:
    first = column(rows, tuple(PAIRS), "text", source)
    second = PAIRS[first.strip().lower()]
    pair = [name for name in rows.column_names if name.strip().lower() == second]
    return (first, pair[0]) if pair else (first,)


def _is_hidden(rows: Dataset, label: str) -> bool:
    if label not in rows.column_names:
        return True
    labels = [clean(each, None) for each in rows[label][:]]
    return all(each is None or number_in(each) == -1 for each in labels)


def _check_rows(rows: Dataset, columns: Sequence[str], label: str, source: str, split: str) -> None:
    """Refuses rows without text, text that is something else, and the names of the columns as a row."""
    cells = zip(*(rows[name][:] for name in (*columns, label)), strict=True)
    for number, (*texts, given) in enumerate(cells, 1):
        where = f"task.data={source}: row {number} of {split}"
        for name, text in zip(columns, texts, strict=True):
            if text is None:
                raise UsageError(f"{where} has no {name}")
            if not isinstance(text, str):
                raise UsageError(f"{where}: {name} is {text!r}, not text")
        if not any(text.strip() for text in texts):  # one of two may be: some of QQP's questions are
            raise UsageError(f"{where}: {' and '.join(columns)} empty")
        if given == label and all(text == name for name, text in zip(columns, texts, strict=True)):
            raise UsageError(f"{where} repeats the names of the columns; take it out")


def _labels(column: Sequence[Any], settings: TaskSettings, split: str) -> list[Any]:
    labels = [clean(each, settings.kind) for each in column]
    if None in labels:
        first = labels.index(None)
        others = f", nor have {labels.count(None) - 1} others" if labels.count(None) > 1 else ""
        word = column[first]
        hint = f"; task.kind=classification makes {word!r} a class" if word and word == word else ""
        raise UsageError(f"task.data={settings.data}: row {first + 1} of {split} has no label{others}{hint}")
    return labels


def _stripped_note(parts: Mapping[str, Dataset], label: str) -> list[str]:
    texts = [each for rows in parts.values() for each in rows[label][:] if isinstance(each, str)]
    count = sum(each != each.strip() for each in texts)
    return [f"spaces around the label taken off in {count} rows"] if count else []


def _of_glue(subset: Subset) -> Labels:
    """GLUE's own classes, by name or by number."""
    numbers: dict[Any, int] = {label: i for i, label in enumerate(subset.classes)}
    return Labels(subset.classes, numbers | {i: i for i in range(len(subset.classes))})


def _of_own(rows: Dataset, labels: Sequence[Any], label: str, settings: TaskSettings) -> Labels:
    from datasets import ClassLabel

    feature = rows.features[label]
    if isinstance(feature, ClassLabel):  # as who made the data set named them
        if settings.kind == REGRESSION:
            raise UsageError(f"task.kind=regression: column {label} of {settings.data} holds named classes")
        return Labels(tuple(feature.names), {i: i for i in range(feature.num_classes)})
    return understand(labels, settings.kind, settings.data, lambda i: f"row {i + 1} of train")


def _targets(labels: Sequence[Any], how: Labels, source: str, split: str) -> list[int | float]:
    targets = []
    for number, label in enumerate(labels, 1):
        try:
            targets.append(how.target(label))
        except ValueError as error:
            shown = repr(label) if number_in(label) is None else label
            where = f"task.data={source}: label {shown} in row {number} of {split}"
            raise UsageError(f"{where} {error}") from None
    return targets


def _with_targets(rows: Dataset, columns: Sequence[str], targets: list[int | float]) -> Dataset:
    from datasets import Dataset

    return Dataset.from_dict(
        {f"text {i}": rows[name][:] for i, name in enumerate(columns)} | {"target": targets}
    )
