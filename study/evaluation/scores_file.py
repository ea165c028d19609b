"""benchmarks.csv: a row per model and benchmark that was asked."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

from study.errors import UsageError
from study.storage.files import write_atomically
from study.storage.rows import column


@dataclass(frozen=True)
class Score:
    """What one model scored on one benchmark; the fields are the columns of the file.

    Numbers are None, or nan, where a cell is empty.
    """

    run_id: str = column("as in runs.parquet; empty for the untouched base model")
    method: str = column("as in runs.parquet; `base` for the base model")
    lr: float | None = column("as in runs.parquet; empty for the base model")
    seed: int | None = column("as in runs.parquet; empty for the base model")
    parameters: int | None = column("as in runs.parquet; 0 for the base model")
    benchmark: str = column("as asked for")
    metric: str = column("the harness's name of what was measured")
    score: float = column("as the harness gives it, accuracies in [0, 1]; nan if answers are not finite")
    stderr: float = column("its standard error over the examples; nan if the harness knows none")
    examples: int | None = column("how many were asked")
    model: str = column("the base model: the run's task.model")
    precision: str = column("of the base model: the run's task.precision")
    form: str = column("what was asked: the `base` model, or it with the adapter `merged` or `adapted`")
    harness: str = column("version of the lm-evaluation-harness")


COLUMNS = {field.name: field.metadata["meaning"] for field in dataclasses.fields(Score)}
"""The columns of benchmarks.csv, and what each means."""

_TYPES = get_type_hints(Score)


def read_scores(path: Path) -> list[Score]:
    """The rows of benchmarks.csv; none if there is no such file.

    Raises:
        UsageError: if it is not one of ours.
    """
    if not path.exists():
        return []
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    if list(reader.fieldnames or []) != list(COLUMNS):
        raise UsageError(f"{path} has other columns than this command writes; move it out of the way")
    try:
        return [Score(**{name: _parsed(name, row[name]) for name in COLUMNS}) for row in rows]
    except ValueError as error:
        raise UsageError(f"{path} cannot be read: {error}; move it out of the way") from None


def _parsed(name: str, text: str | None) -> Any:
    """The value of a cell, of the type of its column."""
    if text is None:
        raise ValueError("a row ends early")
    kind = next(iter(get_args(_TYPES[name])), _TYPES[name])  # of `float | None`: float
    if text or kind is str:
        return kind(text)
    return math.nan if _TYPES[name] is float else None


def write_scores(path: Path, scores: list[Score]) -> None:
    """Writes benchmarks.csv at once, or not at all. Raises CannotWrite if the disk is full."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for score in scores:
        values = [getattr(score, name) for name in COLUMNS]
        writer.writerow(["" if value is None else str(value) for value in values])
    write_atomically(path, text.getvalue().encode())
