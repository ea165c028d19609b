"""What labels are: classes or numbers. The rule is written down in docs/data.md; `task.kind` sets it."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from study.errors import UsageError

CLASSIFICATION, REGRESSION = "classification", "regression"

MISSING = ("NA", "N/A", "NaN", "nan", "null", "None")
"""Words that stand for no label, unless `task.kind=classification` makes each word a class."""

NUMBER = re.compile(r"[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""Not `007`, which is a word."""

DECIMAL_COMMA = re.compile(r"[+-]?\d+,\d+", re.ASCII)

MOST_CLASSES = 20
"""Different labels above which whole numbers with a decimal point are numbers, and below which any number of
rows per class will do."""

ROWS_PER_CLASS = 5
"""Rows that a class has on average, at least, where there are more than MOST_CLASSES."""

Place = Callable[[int], str]
"""Where a label stands, in words, by its position."""


@dataclass(frozen=True)
class Labels:
    """How a label becomes what is learnt.

    Attributes:
        classes: names of the classes 0, 1, ...; () for numbers.
        numbers: a class's number by its label; {} for numbers.
        notes: what was decided by rule.
    """

    classes: tuple[str, ...] = ()
    numbers: Mapping[Any, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def target(self, label: Any) -> int | float:
        """What is learnt for a label.

        Raises:
            ValueError: if it is none of the classes, or not a number.
        """
        value = number_in(label)
        if self.classes:
            for each in (value, label):
                if each is not None and each in self.numbers:
                    return self.numbers[each]
            raise ValueError(f"is none of: {', '.join(self.classes[:10])}")
        if value is None or not math.isfinite(value):
            comma = isinstance(label, str) and DECIMAL_COMMA.fullmatch(label)
            raise ValueError("is not a number" + ("; write a decimal point" if comma else ""))
        return float(value)


def clean(label: Any, kind: str | None) -> Any:
    """A label without the spaces around it; None where there is none."""
    if isinstance(label, str):
        label = label.strip()
        return None if not label or (label in MISSING and kind != CLASSIFICATION) else label
    return None if label is None or label != label else label


def number_in(label: Any) -> int | float | None:
    """The number that a label is, or is written in it; whole ones as int, whatever way they are written."""
    if isinstance(label, bool):
        return None
    if isinstance(label, str):
        if not NUMBER.fullmatch(label):
            return None
        label = float(label)
    if not isinstance(label, int | float):
        return None
    return int(label) if math.isfinite(label) and label == int(label) else label


def understand(labels: Sequence[Any], kind: str | None, source: str, place: Place) -> Labels:
    """What the training labels are, by the rule or as `kind` says.

    Args:
        labels: as `clean` leaves them, none missing.
        kind: CLASSIFICATION, REGRESSION, or None for the rule.

    Raises:
        UsageError: if they can be neither, or could be either.
    """
    if any(isinstance(label, list | dict) for label in labels):
        raise UsageError(f"task.data={source}: a label is text or a number, not {labels[0]!r}")
    if len(set(labels)) < 2:
        raise UsageError(f"task.data={source}: every training label is {labels[0]!r}; needs two or more")
    numbers = [number_in(label) for label in labels]
    words = [i for i, number in enumerate(numbers) if number is None]
    if kind is None and words:
        _refuse_numbers_among_words(labels, words, source, place)
    if kind is None and not words and _are_amounts(labels, numbers):
        kind, note = REGRESSION, f"{_several(labels)} read as numbers{_other(CLASSIFICATION)}"
    elif kind is None:
        note = f"{_several(labels)} read as {{}} classes{_other(REGRESSION)}" if not words else ""
    else:
        note = f"task.kind={kind}"
    if kind == REGRESSION:
        return Labels(notes=(note,))
    values = sorted(set(labels)) if words else sorted({number for number in numbers if number is not None})
    if kind is None:
        _refuse_likely_slips(values, len(labels), source)
    if len(values) < 2:
        raise UsageError(f"task.data={source}: every training label is {values[0]!r}; needs two or more")
    names = tuple(str(value) for value in values)
    notes = (note.format(len(values)),) if note else ()
    return Labels(names, {value: i for i, value in enumerate(values)}, notes)


def _are_amounts(labels: Sequence[Any], numbers: Sequence[int | float | None]) -> bool:
    """Whether numbers are to be predicted: they have fractions, or points and are many."""
    if not all(isinstance(number, int) for number in numbers):
        return True
    has_point = any(isinstance(label, float) or (isinstance(label, str) and "." in label) for label in labels)
    return has_point and len(set(numbers)) > MOST_CLASSES


def _refuse_numbers_among_words(
    labels: Sequence[Any], words: Sequence[int], source: str, place: Place
) -> None:
    decimal_comma = [i for i in words if isinstance(labels[i], str) and DECIMAL_COMMA.fullmatch(labels[i])]
    if decimal_comma:
        first = decimal_comma[0]
        where = f"task.data={source}: label {labels[first]!r} in {place(first)}"
        raise UsageError(f"{where} has a decimal comma; write a point")
    if len(words) == len(labels) or isinstance(labels[words[0]], bool):
        return
    raise UsageError(
        f"task.data={source}: label {labels[words[0]]!r} in {place(words[0])} is not a number,"
        f" {len(labels) - len(words)} of {len(labels)} are; mend it, or task.kind=classification makes each"
        " different label a class"
    )


def _refuse_likely_slips(values: Sequence[Any], rows: int, source: str) -> None:
    """Classes that differ only in what is easily mistyped, and columns that are hardly classes."""
    known: dict[str, Any] = {}
    for value in values:
        other = known.setdefault(_plain(str(value)), value)
        if other != value:
            raise UsageError(
                f"task.data={source}: labels {other!r} and {value!r} differ in capital letters, spaces or"
                " invisible characters alone; write them alike, or task.kind=classification keeps both"
            )
    if len(values) > MOST_CLASSES and rows < ROWS_PER_CLASS * len(values):
        either = "" if isinstance(values[0], str) else ", or task.kind=regression to predict numbers"
        raise UsageError(
            f"task.data={source}: {len(values)} different labels in {rows} training rows; is this the label"
            f" column? task.kind=classification if each is a class{either}"
        )


def _plain(text: str) -> str:
    """Text without what is easily mistyped: capital letters, spaces, characters that do not show."""
    visible = (c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) not in ("Cf", "Cc"))
    return " ".join("".join(visible).casefold().split())


def _several(labels: Sequence[Any]) -> str:
    """`labels 0.0, 1.0`, as they are written; the first few."""
    written = list(dict.fromkeys(str(label) for label in sorted(set(labels), key=float)))
    return f"labels {', '.join(written[:6])}{', ...' if len(written) > 6 else ''}"


def _other(kind: str) -> str:
    meant = "predicts numbers" if kind == REGRESSION else "makes each a class"
    return f"; task.kind={kind} {meant}"
