"""The three splits of a data set; what it lacks is held out of its training rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from study.errors import UsageError, first_line

if TYPE_CHECKING:
    from datasets import Dataset

HELD_OUT = 0.1
"""Share of the training rows that is held out for a split that the data set does not have."""


def check_train(source: str, parts: Mapping[str, object]) -> None:
    """Raises UsageError if none of the data set's splits is `train`."""
    if "train" not in parts:
        raise UsageError(f"task.data={source}: no train split; has {', '.join(parts)}")


def three_splits(
    parts: Mapping[str, Dataset],
    given_as: Mapping[str, str | None],
    held_out: Callable[[int], int],
    stratify_by: str | None = None,
) -> dict[str, Dataset]:
    """`train`, `valid` and `test`; what is lacking is held out of the training rows, by a fixed shuffle.

    Args:
        parts: what there is, by the data set's own names; `train` among them.
        given_as: the data set's name for `valid` and `test`, None for one that is to be held out, in the
            order in which they are held out.
        held_out: how many rows to hold out of so many training rows.
        stratify_by: column of classes of which each split has the same share; None to draw from all rows.

    Raises:
        UsageError: if there are too few rows to hold any out.
    """
    splits = {"train": parts["train"]}
    for split, name in given_as.items():
        if name is not None and name in parts:
            splits[split] = parts[name]
            continue
        rows = len(splits["train"])
        if rows < 2:
            raise UsageError("task.data: one row of training is too few to hold out a validation split")
        try:
            halves = splits["train"].train_test_split(held_out(rows), seed=0, stratify_by_column=stratify_by)
        except ValueError as error:  # a class with too few rows to be in both
            raise UsageError(f"task.data: no {split} split can be held out: {first_line(error)}") from None
        splits["train"], splits[split] = halves["train"], halves["test"]
    return splits
