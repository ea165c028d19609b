"""The tables of a study: every column, its type and its meaning.

Records are gathered into three tables, `results/<name>/runs.parquet`, `history.parquet` and `layers.parquet`,
and analysis reads those and nothing else, so column names are an interface: add, never rename. The columns
are the fields of `study.storage.rows`.

Beside them, `runs` has one `method.<name>.<option>` column per method option (empty for the other methods'
runs) and one `task.<setting>` column per task setting. Where a task has metrics beside the primary one, there
is a `metric.<name>` column for each, on test in `runs`, on validation in `history`; `lower_is_better` in
`runs` names those of which less is better, where there are any, and `trade_off` the two that the primary one
is the harmonic mean of. With `task.sharpness=true`, `runs` has `sharpness_start` and `sharpness_end`, the
largest eigenvalue of the Hessian of the training loss before and after training (nan where a run diverged or
failed). Where its runs keep pictures, `runs` has `pictures`, the digest of
`samples/<run_id>.png`.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from study.storage.rows import RECORD_VERSION, Circumstances, HistoryRow, Identity, LayerRow, Outcome

__all__ = ["ADDED", "CIRCUMSTANCES", "HISTORY", "LAYERS", "RECORD_VERSION", "RUNS", "TABLES"]

TYPES: dict[Any, str] = {str: "string", bool: "bool", int: "int64", float: "float64", int | None: "Int64"}
"""Pandas' name of a field's type."""

Schema = dict[str, tuple[str, str]]
"""column -> (type, meaning)"""


def _columns(*rows: type) -> Schema:
    """The columns among the fields of the dataclasses, in their order."""
    return {
        field.name: (TYPES[typing.get_type_hints(row)[field.name]], field.metadata["meaning"])
        for row in rows
        for field in dataclasses.fields(row)
        if "meaning" in field.metadata
    }


RUNS = _columns(Identity, Outcome, Circumstances)
HISTORY = {"run_id": ("string", "as in runs"), **_columns(HistoryRow)}
LAYERS = {"run_id": ("string", "as in runs"), **_columns(LayerRow)}
TABLES = {"runs": RUNS, "history": HISTORY, "layers": LAYERS}

_FIELDS = [field for row in (Identity, Outcome, Circumstances) for field in dataclasses.fields(row)]

ADDED = {field.name: field.default for field in _FIELDS if field.metadata.get("since", 1) > 1}
"""Columns that tables of older versions lack, and what was true of their runs."""

CIRCUMSTANCES = tuple(field.name for field in _FIELDS if field.metadata.get("varies"))
"""The only columns in which two runs of one command on one machine may differ."""
