"""Text data as splits of rows: a local CSV, TSV, JSON or JSONL file, a folder of them, or a hub data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.errors import UsageError, first_line, nearest
from study.tasks.loading.splits import HELD_OUT, three_splits

if TYPE_CHECKING:
    from datasets import Dataset

MISSING = ["", "NA", "N/A", "NaN", "nan", "null", "None"]
"""What stands for no label in a cell. In a text they are words: pandas would read each as a missing text."""

CELLS = {"keep_default_na": False, "na_values": {"label": MISSING}}
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    ".csv": ("csv", CELLS), ".tsv": ("csv", CELLS | {"sep": "\t"}),
    ".json": ("json", {}), ".jsonl": ("json", {}),
}  # fmt: skip
SPLIT_NAMES = ("train", "validation", "test")
MATCHED = "validation_matched"
"""MNLI has two for validation; its score in GLUE is that on the rows of the kinds that it trains on."""

MOST_HELD_OUT = 2000
"""Rows that are held out at most for a split that the data does not have."""


def load_rows(source: str, subset: str | None = None) -> dict[str, Dataset]:
    """What there is of `train`, `validation` and `test` (of a hub data set, all its splits).

    Args:
        source: a file (all of it is `train`), a folder with train.csv, validation.csv, test.csv (or any other
            of FORMATS; MNLI's validation_matched.csv too), or a data set's hub name.
        subset: a hub data set's configuration.

    Raises:
        UsageError: if there is nothing to read, or it cannot be read.
    """
    import datasets

    path = Path(source).expanduser()
    if path.is_dir():
        files = {
            s: [f for f in sorted(path.glob(f"{s}.*")) if f.suffix in FORMATS]
            for s in (*SPLIT_NAMES, MATCHED)
        }
        parts = {split: _load_file(matches[0]) for split, matches in files.items() if matches}
        if "train" not in parts:
            known = ", ".join(FORMATS)
            raise UsageError(f"task.data={source}: no train file in this folder (one of {known})")
        return parts
    if path.is_file():
        return {"train": _load_file(path)}
    try:
        return dict(datasets.load_dataset(source, subset))
    except Exception as error:
        raise UsageError(f"task.data={source}: {first_line(error)}") from None


def _load_file(path: Path) -> Dataset:
    import datasets

    if path.suffix not in FORMATS:
        raise UsageError(f"task.data={path}: not one of {', '.join(FORMATS)}")
    if not path.read_bytes().strip():
        raise UsageError(f"task.data={path}: the file is empty")
    kind, options = FORMATS[path.suffix]
    try:
        rows = datasets.load_dataset(kind, data_files=str(path), split="train", **options)
    except Exception as error:
        reason = first_line(error.__cause__ or error)
        raise UsageError(f"task.data={path}: cannot be read as {path.suffix[1:]}: {reason}") from None
    if not len(rows):
        raise UsageError(f"task.data={path}: no rows")
    return rows


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


def column(rows: Dataset, names: Sequence[str], what: str, source: str) -> str:
    """The first of `names` that the rows have.

    Raises:
        UsageError: naming the columns there are.
    """
    have: list[Any] = rows.column_names
    for name in names:
        if name in have:
            return name
    close = nearest(names[0], have)
    raise UsageError(
        f"task.data={source}: no {what} column ({' or '.join(names)}); has {', '.join(have)}; {close}"
    )
