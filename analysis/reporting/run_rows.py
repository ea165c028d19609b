"""Every run of a study as rows of text, each with the command that repeats it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import pandas as pd

from analysis.data.labels import is_missing, setting_text, settings_columns
from analysis.data.names import label_name
from analysis.data.table import Study
from analysis.reporting.number_text import number_text, rate_text

MOST = 3000
"""Rows of a page; of larger studies those that are tuned, diverged or failed come first."""


@dataclass(frozen=True)
class RunRow:
    """One run.

    lr: as text, lr_value the number by which a browser sorts. settings: its method's options, and those of
    the task in which runs of the study differ.
    """

    run_id: str
    name: str
    lr: str
    lr_value: float
    seed: int
    status: str
    valid: str
    test: str
    settings: str
    command: str


def run_rows(study: Study) -> list[RunRow]:
    """The study's runs by method, rate and seed, MOST of them at most."""
    runs = study.runs.sort_values(["rank", "lr", "seed"], kind="stable")
    if len(runs) > MOST:
        matters = runs["status"].ne("ok")
        runs = pd.concat([runs[matters], runs[~matters]]).head(MOST).sort_values(["rank", "lr", "seed"])
    method_of, differing = study.method_of, _differing(study.runs)
    rows = []
    for run in runs.to_dict("records"):
        of_method = [c for c in differing if not is_missing(run[c])]
        settings = " ".join(f"{_short(c)}={setting_text(run[c])}" for c in of_method)
        scores = [number_text(run[name]) for name in ("valid", "test")]
        rows.append(
            RunRow(
                run["run_id"], label_name(run["label"], method_of[run["label"]]), rate_text(run["lr"]),
                float(run["lr"]), int(run["seed"]), run["status"], scores[0], scores[1], settings,
                rerun_command(study.name, run["run_id"]),
            )
        )  # fmt: skip
    return rows


def rerun_command(study: str, run_id: str) -> str:
    """What trains one run of a study again."""
    return shlex.join(["ether-study", "rerun", study, run_id])


def _differing(runs: pd.DataFrame) -> list[str]:
    """The columns that `RunRow.settings` is made of."""
    columns = settings_columns(runs)
    options = [c for c in columns if c.startswith("method.")]
    return options + [c for c in columns if c not in options and runs[c].map(setting_text).nunique() > 1]


def _short(column: str) -> str:
    """`method.ether.blocks` -> `blocks`"""
    return column.split(".", 2)[2] if column.startswith("method.") else column
