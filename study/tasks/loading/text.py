"""Text data as splits of rows: a local file, a folder of files, or a data set of the hub."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from study.errors import UsageError, listed
from study.tasks.loading.files import FORMATS, format_of, load_file
from study.tasks.loading.sources import local_path, splits_of_hub
from study.tasks.loading.splits import HELD_OUT, three_splits

if TYPE_CHECKING:
    from datasets import Dataset

SPLIT_NAMES = ("train", "validation", "test")
OTHER_NAMES = {"valid": "validation", "val": "validation", "dev": "validation", "training": "train"}
"""What else files of a split are called."""

MATCHED = "validation_matched"
"""MNLI has two for validation; its score in GLUE is that on the rows of the kinds that it trains on."""

MOST_HELD_OUT = 2000
"""Rows that are held out at most for a split that the data does not have."""


class Loaded(NamedTuple):
    """What there is of `train`, `validation` and `test` (of a hub data set, all its splits), and notes on
    what was decided by rule in reading it."""

    parts: dict[str, Dataset]
    notes: list[str]


def load_rows(source: str, subset: str | None = None, wanted: Collection[str] = ()) -> Loaded:
    """Rows of local files or of the hub.

    Args:
        source: a file (all of it is `train`), a folder with train.csv, validation.csv, test.csv (or any other
            of FORMATS; MNLI's validation_matched.csv too), or a data set's hub name.
        subset: a hub data set's configuration.
        wanted: names of columns that will be used, in lower case.

    Raises:
        UsageError: if there is nothing to read, or it cannot be read.
    """
    path = local_path("task.data", source)
    if path is None:
        return Loaded(splits_of_hub(source, subset), [])
    if path.is_dir():
        return _load_folder(path, source, wanted)
    rows, notes = load_file(path, wanted)
    return Loaded({"train": rows}, notes)


def _load_folder(folder: Path, source: str, wanted: Collection[str]) -> Loaded:
    files = [file for file in sorted(folder.iterdir()) if file.is_file() and not file.name.startswith(".")]
    chosen: dict[str, Path] = {}
    unread = []
    for file in files:
        name = file.name.split(".")[0].lower()
        split = OTHER_NAMES.get(name, name)
        if not format_of(file) or split not in (*SPLIT_NAMES, MATCHED):
            unread.append(file.name)
        elif split in chosen:
            raise UsageError(
                f"task.data={source}: {chosen[split].name} and {file.name}: keep one for {split}"
            )
        else:
            chosen[split] = file
    if "train" not in chosen:
        known, names = ", ".join(FORMATS), [each.name for each in sorted(folder.iterdir())]
        there = f"; has {listed(names)}" if names else ""
        raise UsageError(f"task.data={source}: no train file in this folder (one of {known}){there}")
    parts, notes = {}, []
    for split, file in chosen.items():
        parts[split], of_file = load_file(file, wanted)
        notes += [f"{file.name}: {note}" for note in of_file]
    if unread:
        notes.append(f"not read: {listed(unread)}")
    return Loaded(parts, notes)


def text_splits(parts: Mapping[str, Dataset], test_is_hidden: bool = False) -> dict[str, Dataset]:
    """`train`, `valid` and `test`; what is lacking is held out of the training rows, by a fixed shuffle.

    Args:
        parts: what there is of SPLIT_NAMES.
        test_is_hidden: the data set's own test split has no labels: its validation split becomes the test,
            and the learning rate is chosen on rows held out of training, which nothing else has seen.

    Raises:
        UsageError: if there are too few rows to hold any out.
    """
    given_as: dict[str, str | None] = {"test": "test", "valid": "validation"}
    if test_is_hidden:
        given_as = {"test": "validation", "valid": None}
    return three_splits(
        parts,
        given_as,
        held_out=lambda rows: max(1, min(round(HELD_OUT * rows), MOST_HELD_OUT)),
    )


def split_notes(
    given: Collection[str], splits: Mapping[str, Sequence[Any]], test_is_hidden: bool = False
) -> list[str]:
    """Where the rows of validation and test come from, if they are not in splits of their own.

    Args:
        given: names of the splits that there are.
        splits: the three that are used.
    """
    notes = []
    if test_is_hidden and "validation" in given:
        notes.append("the validation rows are the test: the test rows have no labels")
        given = {"train", "test"}
    for split, name in (("valid", "validation"), ("test", "test")):
        if name not in given:
            notes.append(f"{name}: {len(splits[split]):,} rows held out of training")
    return notes


def column(rows: Dataset, names: Sequence[str], what: str, source: str, setting: str = "") -> str:
    """The first of `names` that the rows have, exactly or but for capital letters.

    Args:
        what: it is for, in a word.
        setting: what names another column; `WHAT_column` by default.

    Raises:
        UsageError: naming the columns there are, or if it is one of several that differ in case alone.
    """
    have: list[Any] = rows.column_names
    for name in names:
        alike = [each for each in have if each.strip().lower() == name.lower()]
        if name in have or len(alike) == 1:
            return name if name in have else alike[0]
        if alike:
            raise UsageError(
                f"task.data={source}: {what} column {name}: has {' and '.join(alike)}; name one of them alike"
            )
    known = listed([each if len(each) <= 40 else f"{each[:37]}..." for each in have])
    raise UsageError(
        f"task.data={source}: no {what} column ({' or '.join(names)}); has {known}{_near(names, have)};"
        f" task.{setting or f'{what}_column'}=NAME names another"
    )


def _near(names: Sequence[str], have: Sequence[str]) -> str:
    import difflib

    near = difflib.get_close_matches(names[0], have, n=3, cutoff=0.5)
    return f"; nearest: {', '.join(near)}" if near else ""
