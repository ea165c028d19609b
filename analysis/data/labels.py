"""A label for every run: its method, and the settings that tell its runs from the method's others."""

from __future__ import annotations

import math

import pandas as pd

from study.storage.rows import FINISHED

METHOD_ORDER = ("ether", "ether_plus", "lora", "oft", "naive")
"""The paper's methods, in the order in which tables and figures show them."""


def label_runs(runs: pd.DataFrame, by_method: bool = False) -> pd.DataFrame:
    """A copy of `runs` with `label`, `rank` and `counted`, and with the metric of the others for failed runs.

    The label is the method's name where the method occurs with one set of settings, else the
    name followed by the settings that differ: `ether blocks=4`. Ranks, from 0: ether, ether_plus,
    lora, oft, naive, then others by the alphabet; within a method, by the settings' values.

    Args:
        by_method: the label is the method's name alone: of runs that are drawn from a space, each is of
            settings of its own.
    """
    runs = runs.copy()
    runs["counted"] = runs["status"].isin(FINISHED)
    for column in ("metric", "higher_is_better"):  # a failed run has none of its own
        known = runs.loc[runs["counted"], column].unique()
        if len(known) == 1:
            runs[column] = known[0]
    runs["label"] = ""
    sort_keys: dict[str, tuple[object, ...]] = {}
    for method, rows in runs.groupby("method", sort=False):
        position = METHOD_ORDER.index(method) if method in METHOD_ORDER else len(METHOD_ORDER)
        columns = [] if by_method else settings_columns(rows)
        differing = [c for c in columns if rows[c].map(setting_text).nunique() > 1]
        for index, row in rows[differing].iterrows():
            parts = [f"{_short(c, str(method))}={setting_text(row[c])}" for c in differing]
            label = " ".join([str(method), *parts])
            runs.loc[index, "label"] = label
            sort_keys[label] = (position, str(method), tuple(_sort_key(row[c]) for c in differing))
    ranks = {label: rank for rank, label in enumerate(sorted(sort_keys, key=lambda label: sort_keys[label]))}
    runs["rank"] = runs["label"].map(ranks).astype("int64")
    return runs


def settings_columns(runs: pd.DataFrame) -> list[str]:
    """Names of the columns that hold settings: `method.*` and `task.*`."""
    return [c for c in runs.columns if c.startswith(("method.", "task."))]


def setting_text(value: object) -> str:
    """A setting as text: `none` where it is missing, an integer for a whole float.

    A column with gaps is of a nullable type (missing: pd.NA) or, in older tables, of floats (4 is 4.0 and
    missing is nan) or of objects (missing: None); the text is the same.
    """
    if is_missing(value):
        return "none"
    if isinstance(value, float):  # np.float64, too
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else f"{value:g}"
    return str(value)


def is_missing(value: object) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _short(column: str, method: str) -> str:
    """`method.ether.blocks` -> `blocks`; `task.steps` -> `steps`."""
    return column.removeprefix(f"method.{method}.").removeprefix("task.")


def _sort_key(value: object) -> tuple[int, float, str]:
    """Numbers by value, then text by the alphabet, then missing values."""
    if is_missing(value):
        return (2, 0.0, "")
    try:
        return (0, float(value), "")  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return (1, 0.0, str(value))
