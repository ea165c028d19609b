"""Methods that `study.compare ... sweep=atlas` ran: they join the atlas's study of the same task.

A method joins if it was run on the same task, with the same settings, data and base model, at every rate and
with every seed of the study, and is not in it already, as the baseline is. It then counts as any other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from analysis.comparison.compared import Compared, read
from analysis.data.labels import setting_text
from analysis.data.studies import KINDS
from analysis.data.table import AnalysisError, Study
from study.cli.studies import ATLAS, COMPARISONS
from study.storage.comparison_file import NAME, Cost

SAME = ("data_fingerprint", "model_fingerprint")
"""Columns beside `task.*` in which runs on one task do not differ."""


@dataclass(frozen=True)
class Joined:
    """A method of a comparison, as the comparison knows it.

    method: its name; its label may be another.
    command: what made the comparison.
    cost: what it costs beside time.
    """

    method: str
    command: str
    cost: Cost


def read_comparisons(results: Path) -> tuple[list[Compared], list[str]]:
    """Every comparison under `results`, and of those that cannot be read, why not."""
    found, unreadable = [], []
    for path in sorted(results.glob(f"{COMPARISONS}/*/{NAME}")):
        try:
            found.append(read(path.parent))
        except AnalysisError as error:
            unreadable.append(f"{COMPARISONS}/{path.parent.name} is not shown: {error}.")
    return found, unreadable


def join(study: Study, comparisons: Sequence[Compared]) -> tuple[Study, Mapping[str, Joined], list[str]]:
    """The study with the methods that join it, these by label, and why others of sweep=atlas do not."""
    joined: dict[str, Joined] = {}
    apart = []
    for compared in comparisons:
        if not _are_of_one_task(study.runs, compared.runs):
            continue
        different = "other settings or data" if _differ(study.runs, compared.runs) else ""
        for label, rows in _new_in(study, compared):
            reason = different or ("" if _cells(study.runs) <= _cells(rows) else "other rates or seeds")
            if not reason:
                name = label if label not in study.labels else f"{label} ({compared.name})"
                method = str(rows["method"].iloc[0])
                joined[name] = Joined(method, compared.command, compared.costs.get(label, Cost()))
                study = _with(study, compared, name, label)
            elif (rows["sweep"] == ATLAS).any():
                where = f"{COMPARISONS}/{compared.name}"
                apart.append(f"{label} of {where} is not shown: it was run with {reason} than the atlas's.")
    return study, joined, apart


def _are_of_one_task(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    return _texts(first, KINDS) == _texts(second, KINDS)


def _differ(first: pd.DataFrame, second: pd.DataFrame) -> bool:
    columns = sorted({name for runs in (first, second) for name in runs if name.startswith("task.")})
    return _texts(first, (*columns, *SAME)) != _texts(second, (*columns, *SAME))


def _texts(runs: pd.DataFrame, columns: Sequence[str]) -> list[list[str]]:
    """The values of each column, each once; of one that is not there, a missing one."""
    ended = runs[runs["counted"]]
    return [
        sorted(set(ended[name].map(setting_text))) if name in ended else [setting_text(None)]
        for name in columns
    ]


def _new_in(study: Study, compared: Compared) -> Iterator[tuple[str, pd.DataFrame]]:
    """The labels, and their runs, of which the study has no run."""
    known = set(study.runs["run_id"])
    for label in compared.labels:
        rows = compared.of(label)
        if known.isdisjoint(rows["run_id"]):
            yield label, rows


def _cells(runs: pd.DataFrame) -> set[tuple[float, int]]:
    return set(zip(runs["lr"], runs["seed"], strict=True))


def _with(study: Study, compared: Compared, name: str, label: str) -> Study:
    """The study and, last in its order, the label's runs at its rates and seeds."""
    cells, rows = _cells(study.runs), compared.of(label)
    on_grid = [cell in cells for cell in zip(rows["lr"], rows["seed"], strict=True)]
    named = {"label": name, "method": compared.method_of[label], "rank": int(study.runs["rank"].max()) + 1}
    rows = rows[on_grid].assign(**named)
    history, layers = (
        pd.concat([own, more[more["run_id"].isin(rows["run_id"])]], ignore_index=True)
        for own, more in ((study.history, compared.history), (study.layers, compared.layers))
    )
    runs = pd.concat([study.runs, rows], ignore_index=True)
    return replace(study, runs=runs, history=history, layers=layers)
