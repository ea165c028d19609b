"""What reports say of many methods against each other, and over many tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.comparison.pairs import pairs_note, pairs_table, pairs_text
from analysis.data.names import label_name
from analysis.data.table import Study
from analysis.figures.ranks import CAPTION, QUANTITIES, draw_ranks, rankings, ranks_note
from analysis.reporting.page import Picture
from analysis.reporting.text_table import TextTable, table_text


@dataclass(frozen=True)
class RanksSection:
    """Average ranks over several studies: the plot, what it shows, and the ranks."""

    picture: Picture
    note: str
    table: TextTable


def pairs_section(study: Study) -> dict[str, object]:
    """Values for a template's section on every pair of the study's methods, and `tests`, the table itself."""
    table = pairs_table(study)
    names = {label: label_name(label, method) for label, method in study.method_of.items()}
    shown = table_text(pairs_text(table, names)) if len(table) else None
    return {"tests": table, "pairs": shown, "pairs_note": pairs_note(table)}


def over_all(studies: Mapping[str, Study], figures: Path) -> RanksSection | None:
    """Ranks over the studies, by title; None where fewer than two have runs, or methods in common."""
    ended = {title: study for title, study in studies.items() if study.runs["counted"].any()}
    found = rankings(ended)
    if not found:
        return None
    method_of = {k: v for study in ended.values() for k, v in study.method_of.items()}
    columns = {
        f"rank by {QUANTITIES[quantity]}": ranking.average.rename(index=lambda k: label_name(k, method_of[k]))
        for quantity, ranking in found.items()
    }
    table = pd.DataFrame(columns).rename_axis("method").reset_index()
    picture = Picture(draw_ranks(found, method_of, figures), CAPTION)
    return RanksSection(picture, ranks_note(found), table_text(table))
