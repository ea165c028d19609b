"""What stands on each page of an atlas: the index, a method's, a task's."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.atlas.collected import Collected, Task
from analysis.atlas.missing import missing
from analysis.atlas.numbers import DEFINITIONS, TITLES, saved_mb
from analysis.atlas.sentences import on_task, over_all
from analysis.data.labels import is_missing, setting_text
from analysis.exporting.bibliography import REFERENCES
from analysis.figures.style import method_styles
from analysis.reporting.many import RanksSection
from analysis.reporting.number_text import aligned, interval_text, number_text
from analysis.reporting.page import Picture, links
from analysis.reporting.sections import Cell, RobustnessRow, study_sections
from analysis.reporting.summary import summary as summary_of
from analysis.reporting.text_table import table_text
from analysis.reporting.tuning import budget_text

METHODS, TASKS = "methods", "tasks"
"""The folders of the pages."""


@dataclass(frozen=True)
class Entry:
    """A sentence, and the page that says more."""

    sentence: str
    link: str
    address: str


class Linked(Picture):
    """A figure in a file beside the pages."""

    def address(self, page: Path) -> str:
        """As seen from the page's folder."""
        vector = self.path.with_suffix(".svg")
        return os.path.relpath(vector if vector.is_file() else self.path, page)


@dataclass(frozen=True)
class OverTasks:
    """What only several tasks show; None where there is one, or they have no methods in common."""

    ranks: RanksSection | None
    profiles: Linked | None


def page_name(name: str) -> str:
    """`peft_oft.html` for peft:oft."""
    return f"{re.sub(r'[^A-Za-z0-9.-]+', '_', name)}.html"


def index(atlas: Collected, table: pd.DataFrame, over_tasks: OverTasks) -> dict[str, Any]:
    """Values for the index.

    Args:
        table: of `analysis.atlas.numbers.summary`.
    """
    runs = pd.concat([task.study.runs for task in atlas.tasks.values()])
    shown = [column for column in TITLES if table[column].notna().any()]
    return {
        "columns": [(column, TITLES[column]) for column in shown],
        "hints": DEFINITIONS,
        "definitions": {TITLES[column]: DEFINITIONS[column] for column in shown},
        "rows": _index_rows(atlas, table, shown),
        "known": len(atlas.plan.known),
        "runs": f"{len(runs):,}",
        "ranks": over_tasks.ranks,
        "profiles": over_tasks.profiles,
        "single": [task.title for task in atlas.tasks.values()] if len(atlas.tasks) == 1 else [],
        "tasks": [
            Entry(_task_sentence(task), task.title, f"{TASKS}/{page_name(name)}")
            for name, task in atlas.tasks.items()
        ],
        "methods": [
            Entry(over_all(atlas, row), "more", f"{METHODS}/{page_name(str(row['label']))}")
            for _, row in table.iterrows()
        ],
        "missing": missing(atlas),
        "command": atlas.plan.command,
        "files": links([atlas.folder / "atlas.csv"], atlas.folder),
        "made_by": [*sorted(set(runs["versions"])), *sorted({f"on {each}" for each in runs["device"]})],
    }


def _index_rows(atlas: Collected, table: pd.DataFrame, columns: list[str]) -> list[RobustnessRow]:
    styles = method_styles(list(atlas.method_of), atlas.method_of)
    cells = {}
    for column in columns:
        bound = table["plateau_bound"] if column == "plateau" else [False] * len(table)
        texts = [
            ("≥ " if is_bound else "") + (str(value) if column == "tasks" else number_text(value))
            for value, is_bound in zip(table[column], bound, strict=True)
        ]
        values = ["" if math.isnan(value) else repr(float(value)) for value in table[column]]
        cells[column] = [Cell(*pair) for pair in zip(aligned(texts), values, strict=True)]
    rows = []
    for number, (_, row) in enumerate(table.iterrows()):
        label = str(row["label"])
        idle = f"is shown to learn on {row['learns']} of its {row['tasks']} tasks"
        rows.append(
            RobustnessRow(
                atlas.names[label], styles[label].colour, [cells[column][number] for column in columns],
                idle if row["learns"] < row["tasks"] else "", f"{METHODS}/{page_name(label)}",
            )
        )  # fmt: skip
    return rows


def _task_sentence(task: Task) -> str:
    """The best and the least sensitive, in the words of every report."""
    return f"{task.title}: {' '.join(summary_of(task.study, task.table)[-4:])}"


def of_method(atlas: Collected, label: str, row: pd.Series, curves: Path, caption: str) -> dict[str, Any]:
    """Values for a method's page; `row` is of `analysis.atlas.numbers.summary`."""
    name = atlas.names[label]
    having = [task for task in atlas.tasks.values() if label in task.table.index]
    joined = [task.joined[label] for task in having if label in task.joined]
    method = joined[0].method if joined else atlas.method_of[label]
    plans = [atlas.plan.tasks[t.name].methods.get(method) for t in having if t.name in atlas.plan.tasks]
    known = [each.cost for each in joined] if joined else [each for each in plans if each is not None]
    reasons = [each.unpackable for each in known if each.unpackable]
    return {
        "name": name,
        "sentence": over_all(atlas, row),
        "curves": Linked(curves, caption),
        "table": table_text(pd.DataFrame([_numbers(atlas, task, label) for task in having])),
        "tasks": [
            Entry(f"{t.title}: {on_task(name, t, label)}", "all methods", f"../{TASKS}/{page_name(t.name)}")
            for t in having
        ],
        "options": _options(having[0], label, method),
        "unpackable": reasons[0] if reasons else "",
        "commands": list(dict.fromkeys(each.command for each in joined))
        or [
            f"python -m study.atlas method={method}",
            *(f"python -m study.rerun {t.study.name} RUN_ID" for t in having[:1]),
        ],
        "bibtex": REFERENCES[method].bibtex() if method in REFERENCES else "",
        "missing": [] if joined else missing(atlas, method),
    }  # fmt: skip


def _numbers(atlas: Collected, task: Task, label: str) -> dict[str, str]:
    """A row of the table on a method's page."""
    row = task.table.loc[label]
    at_least = "≥ " if row["plateau_10_censored"] != "none" else ""
    cut_off = " †" if row["regret_window_truncated"] != "none" else ""
    sensitivity = task.places("regret_window")[label]
    return {
        "task": task.title,
        "rank by score": f"{task.places('tuned_test')[label]:g} of {len(task.table)}",
        "tuned score": interval_text(row, "tuned_test"),
        "tuned rate": interval_text(row, "best_lr"),
        "rank by sensitivity": "–" if math.isnan(sensitivity) else f"{sensitivity:g}",
        "lost nearby": interval_text(row, "regret_window") + cut_off,
        "plateau [decades]": at_least + interval_text(row, "plateau_10"),
        "tuning budget [rates]": "–" if row["not_learning"] else budget_text(*task.budget(label)),
        "diverged": f"{int(row['diverged'])} of {int(row['runs'])}",
        "parameters": number_text(row["parameters"]),
        "seconds per step": number_text(row["step_seconds"]),
        "memory [MB]": number_text(saved_mb(atlas, task, label)),
    }


def _options(task: Task, label: str, method: str) -> list[tuple[str, str]]:
    """What the method's options were, of those that are set."""
    runs = task.study.of(label)
    columns = [name for name in runs.columns if name.startswith(f"method.{method}.")]
    return [
        (name, ", ".join(sorted({setting_text(value) for value in runs[name]})))
        for name in columns
        if not runs[name].map(is_missing).all()
    ]


def of_task(atlas: Collected, task: Task, curves: Path, caption: str) -> dict[str, Any]:
    """Values for a task's page."""
    sections = study_sections(task.study, task.table)
    labels = [str(label) for label in task.table["label"]]
    rows: list[RobustnessRow] = sections.pop("rows")  # type: ignore[assignment]
    return sections | {
        "title": task.title,
        "study": task.study,
        "untouched": task.untouched,
        "summary": summary_of(task.study, task.table),
        "rows": [
            replace(row, address=f"../{METHODS}/{page_name(label)}")
            for row, label in zip(rows, labels, strict=True)
        ],
        "curves": Linked(curves, caption),
        "report": f"python -m analysis.report {task.study.name}",
        "holes": sections["missing"],
        "missing": missing(atlas, task=task.name),
    }
