"""How a method's learning rate travels between tasks, for the reports of several studies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.data.names import label_name
from analysis.data.table import Study
from analysis.figures.transfer import MATRIX_CAPTION, PROFILE_CAPTION, draw_matrices, draw_profiles
from analysis.reporting.page import Picture
from analysis.reporting.text_table import TextTable, table_text
from analysis.statistics.transfer import Transfer, transfer


@dataclass(frozen=True)
class TravelSection:
    """sentences: one per method, and of what was left out. values: the table as numbers."""

    pictures: list[Picture]
    sentences: list[str]
    table: TextTable
    values: pd.DataFrame


def travel(studies: Mapping[str, Study], figures: Path) -> TravelSection | None:
    """Regret matrices and performance profiles over the studies, by title; None where there are none.

    That is with fewer than two tasks on which all methods learn.
    """
    ended = {title: study for title, study in studies.items() if study.runs["counted"].any()}
    found = transfer({title: study.runs for title, study in ended.items()})
    if found is None:
        return None
    method_of = {label: method for study in ended.values() for label, method in study.method_of.items()}
    pictures = [
        Picture(draw_matrices(found, method_of, figures), MATRIX_CAPTION),
        Picture(draw_profiles(found, method_of, figures), PROFILE_CAPTION),
    ]
    names = {label: label_name(label, method) for label, method in method_of.items()}
    values = found.table()
    return TravelSection(pictures, sentences(found, names), table_text(_shown(values, names)), values)


def sentences(found: Transfer, names: Mapping[str, str]) -> list[str]:
    """What the regrets say, a sentence per method, and then what takes no part."""
    said = []
    for row in found.table().itertuples():
        by_one = _percent(row.regret, row.regret_low, row.regret_high)
        for_all = _percent(row.left_out, row.left_out_low, row.left_out_high)
        said.append(
            f"{names[row.label]}: a rate tuned on one task loses {by_one} of what can be gained on another, "
            f"at worst {100 * row.worst:.0f} % ({row.worst_from}'s on {row.worst_on}); one rate for all "
            f"tasks, chosen without the one that is tested, loses {for_all}"
            f"{_rates(row.lowest_rate, row.highest_rate)}."
        )
    for what, labels in found.not_taking_part.items():
        if labels:
            lacking = ", ".join(names[label] for label in labels)
            said.append(f"{what} takes no part: there it is not shown that these learn: {lacking}.")
        else:
            said.append(f"{names[what]} takes no part: it is shown to learn on fewer than two tasks.")
    return said


def _percent(value: float, low: float, high: float) -> str:
    interval = f" [{100 * low:.1f}, {100 * high:.1f}]" if np.isfinite(low) else ""
    return f"{100 * value:.1f} %{interval}"


def _rates(low: float, high: float) -> str:
    if not np.isfinite(low):
        return " (no rate was run on all)"
    return f" (it is {low:.3g})" if low == high else f" (it is {low:.3g} to {high:.3g})"


def _shown(values: pd.DataFrame, names: Mapping[str, str]) -> pd.DataFrame:
    """The table in percent, as pages have it."""
    rows = []
    for row in values.itertuples():
        by_one = _percent(row.regret, row.regret_low, row.regret_high)
        for_all = _percent(row.left_out, row.left_out_low, row.left_out_high)
        rows.append(
            {
                "method": names[row.label],
                "lost by another task's rate [%]": by_one.replace(" %", ""),
                "at worst [%]": f"{100 * row.worst:.1f}",
                "that is": f"{row.worst_from}'s on {row.worst_on}",
                "lost by one rate for all [%]": for_all.replace(" %", ""),
            }
        )
    return pd.DataFrame(rows)
