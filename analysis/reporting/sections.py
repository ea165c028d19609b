"""What every report says of a study: its table of robustness, its settings, and the runs that went wrong."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.data.labels import is_missing, setting_text, settings_columns
from analysis.data.table import Study, absent
from analysis.figures.style import method_styles
from analysis.reporting.interval_note import interval_note
from analysis.reporting.number_text import aligned, interval_text
from analysis.reporting.run_rows import run_rows
from analysis.statistics.robustness import DEFINITIONS

TITLES = {
    "tuned_test": "tuned test score",
    "best_lr": "tuned learning rate",
    "regret_window": "sensitivity (mean regret, ±1.5 decades)",
    "regret_grid": "mean regret, whole grid",
    "plateau_2": "plateau within 2 % [decades]",
    "plateau_10": "plateau within 10 % [decades]",
    "plateau_target": "plateau above target [decades]",
    "divergence_rate": "divergence rate",
    "seed_spread": "seed spread",
    "parameters": "parameters",
    "step_seconds": "seconds per step",
}
"""Columns of the robustness table that reports show, with their headings."""


MOST_VALUES = 30
"""Values of a setting that are named one by one."""


@dataclass(frozen=True)
class Cell:
    text: str
    value: str  # by which a browser sorts; empty where there is none


@dataclass(frozen=True)
class RobustnessRow:
    """One label's row; a cell for each of TITLES.

    not_learning: why it takes no part in verdicts; empty if it does.
    address: of a page about it, if there is one.
    """

    name: str
    colour: str
    cells: list[Cell]
    not_learning: str
    address: str = ""


def study_sections(study: Study, table: pd.DataFrame) -> dict[str, object]:
    """Values for a template's sections on a study, by the names that parts.html.j2 has for them.

    Args:
        table: the study's `robustness_table`.
    """
    return {
        "columns": list(TITLES.items()),
        "rows": robustness_rows(study, table),
        "left_out": list(dict.fromkeys(filter(None, table["regret_grid_left_out"]))),
        "intervals": interval_note(table),
        "hints": DEFINITIONS,
        "definitions": {TITLES.get(name, name): text for name, text in DEFINITIONS.items()},
        **run_sections(study),
    }


def run_sections(study: Study) -> dict[str, object]:
    """What is said of the runs of any study, be they of a grid or of a space."""
    missing = absent(study.runs).to_dict("records") if study.trials is None else []
    return {
        "names": {label: style.name for label, style in method_styles(study.labels, study.method_of).items()},
        "run_rows": run_rows(study),
        "settings": shared_settings(study.runs),
        "accidents": {status: accidents(study.runs, status) for status in ("diverged", "failed")},
        "missing": missing,
    }


def robustness_rows(study: Study, table: pd.DataFrame) -> list[RobustnessRow]:
    styles = method_styles(study.labels, study.method_of)
    columns = {}
    for name in TITLES:
        cells = []
        for _, row in table.iterrows():
            at_least = "≥ " if row.get(f"{name}_censored", "none") != "none" else ""
            mark = " †" if row.get(f"{name}_truncated", "none") != "none" else ""
            mark += " ¶" if row.get(f"{name}_left_out", "") else ""
            value = "" if pd.isna(row[name]) else repr(float(row[name]))
            cells.append(Cell(at_least + interval_text(row, name) + mark, value))
        texts = aligned([cell.text for cell in cells])
        columns[name] = [Cell(text, cell.value) for text, cell in zip(texts, cells, strict=True)]
    rows = []
    for index, (_, row) in enumerate(table.iterrows()):
        style, cells = styles[row["label"]], [column[index] for column in columns.values()]
        rows.append(RobustnessRow(style.name, style.colour, cells, row["not_learning"]))
    return rows


def shared_settings(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Every setting with its values; a method's option counts its own runs alone."""
    settings = []
    for column in ["sweep", *settings_columns(runs)]:
        values = sorted({setting_text(value) for value in runs[column] if not is_missing(value)})
        if values:
            settings.append((column, _values_text(values)))
    settings.append(("lr", _values_text([f"{lr:.3g}" for lr in sorted(runs["lr"].unique())])))
    settings.append(("seed", ", ".join(str(seed) for seed in sorted(runs["seed"].unique()))))
    return settings


def _values_text(values: list[str]) -> str:
    """The values, or, of very many, how many there are: those of each run stand beside it."""
    return ", ".join(values) if len(values) <= MOST_VALUES else f"{len(values)} values"


def accidents(runs: pd.DataFrame, status: str) -> list[dict[str, object]]:
    """The runs of one status: label, learning rate, seed, run_id and reason (which names the step)."""
    rows = runs[runs["status"] == status].sort_values(["rank", "lr", "seed"])
    return rows[["label", "lr", "seed", "run_id", "reason"]].to_dict("records")
