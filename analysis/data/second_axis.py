"""A method's runs over learning rates and one further setting: `rank_lr`, `blocks_lr` and their kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data.labels import is_missing, setting_text, settings_columns


@dataclass(frozen=True)
class SecondAxis:
    """One method's runs in which the learning rate and one more setting vary.

    name: the setting, as labels call it: `blocks`, `batch_size`.
    others: the method's other settings that differ in the study, and are the same here: `sides=1`; or empty.
    runs: those that ended, with `axis_value`, a number (nan: it is none), and `axis_text`.
    """

    method: str
    name: str
    others: str
    runs: pd.DataFrame

    @property
    def rows(self) -> list[str]:
        """The texts of the values, in their order."""
        return list(self.runs.sort_values("axis_value", kind="stable")["axis_text"].unique())


def second_axes(runs: pd.DataFrame) -> list[SecondAxis]:
    """What a study has of two axes: at least two rates at each of two values, nothing where it has none.

    Of a method with several such settings the one with the most values is the axis, and each combination of
    the others has an entry of its own. A setting that follows from the axis, such as a warm-up that is a
    tenth of the steps, is not another one.

    Args:
        runs: the `runs` of a `Study`.
    """
    trained = runs[runs["counted"] & (runs["steps"] > 0)].sort_values("rank")
    return [axis for method, rows in trained.groupby("method", sort=False) for axis in _of(str(method), rows)]


def _of(method: str, rows: pd.DataFrame) -> Iterator[SecondAxis]:
    texts = {column: rows[column].map(setting_text) for column in settings_columns(rows)}
    differing = [column for column, text in texts.items() if text.nunique() > 1]
    numbers = {column: _numbers(rows[column]) for column in differing}
    numeric = [column for column in differing if numbers[column].nunique() > 1]
    if not numeric:
        return
    axis = max(numeric, key=lambda column: texts[column].nunique())  # the first of equals
    follows = [c for c in differing if texts[c].groupby(texts[axis]).nunique().max() == 1]
    rest = [column for column in differing if column not in follows]
    placed = rows.assign(axis_value=numbers[axis], axis_text=texts[axis].map(_short))
    fixed = pd.Series("", index=rows.index)
    for column in rest:
        fixed += f" {column.removeprefix(f'method.{method}.').removeprefix('task.')}=" + texts[column]
    for others, part in placed.groupby(fixed, sort=False):
        rates = part.groupby("axis_text")["lr"].nunique()
        kept = part[part["axis_text"].isin(rates[rates > 1].index)]
        if kept["axis_value"].nunique() > 1:
            yield SecondAxis(method, axis.rpartition(".")[2], str(others).strip(), kept)


def _numbers(values: pd.Series) -> pd.Series:
    """A setting's values as numbers: themselves, or what `width16` and `width32` end with; nan for others."""
    known = [value for value in values if not is_missing(value)]
    ends = [re.fullmatch(r"(.*?)(\d+)", str(value)) for value in known if isinstance(value, str)]
    by_text = len(ends) == len(known) and all(ends) and len({end[1] for end in ends if end}) == 1

    def number(value: object) -> float:
        if by_text and isinstance(value, str):
            return float(re.search(r"\d+$", value).group())  # type: ignore[union-attr]
        if is_missing(value) or isinstance(value, bool | np.bool_ | str):
            return np.nan
        try:
            return float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return np.nan

    return values.map(number).astype(float)


def _short(text: str) -> str:
    """A folder by its last part."""
    return text.rstrip("/").rpartition("/")[2]
