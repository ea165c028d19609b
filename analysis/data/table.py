"""The tables of one study, checked.

`load` reads `results/<name>/{runs,history,layers}.parquet` (columns: `study.schema`) and adds
three columns to `runs`: `label` (the method, plus the settings in which it differs from other
runs of the same study), `rank` (of the label in the canonical order, from 0) and `counted` (False
for failed and for pruned runs). A *failed* run is an accident of the infrastructure: it has no score and
is reported as missing. A *pruned* run was ended early by the study itself and has no score on test. A
*diverged* run is a result: it always counts, with its score.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.data.labels import label_runs
from analysis.data.trials import TrialsOfStudy, is_space, read_trials
from study.errors import UsageError, first_line
from study.storage import schema
from study.storage.tables import damaged_tables


class AnalysisError(UsageError):
    """Tables that are missing or cannot be used."""


@dataclass(frozen=True)
class Study:
    """The records of one study.

    runs: one row per run, columns of `schema.RUNS` plus `label`, `rank`, `counted`.
    history: one row per run and evaluation point, columns of `schema.HISTORY`.
    layers: one row per run, layer and side, columns of `schema.LAYERS`.
    folder: that the tables were read from; None if they were put together from several.
    trials: of a study whose runs are drawn from a space, in which a label is a method; None of a grid.
    """

    name: str
    runs: pd.DataFrame
    history: pd.DataFrame
    layers: pd.DataFrame
    folder: Path | None = field(default=None, kw_only=True)
    trials: TrialsOfStudy | None = field(default=None, kw_only=True)

    @property
    def labels(self) -> list[str]:
        """Labels in canonical order."""
        return list(self.runs.sort_values("rank")["label"].unique())

    @property
    def method_of(self) -> dict[str, str]:
        """label -> name of its method."""
        return dict(self.runs.drop_duplicates("label").set_index("label")["method"])

    def of(self, label: str) -> pd.DataFrame:
        """The rows of `runs` under this label."""
        return self.runs[self.runs["label"] == label]


def load(folder: Path) -> Study:
    """Reads and checks the tables in `folder`; raises AnalysisError if they cannot be used."""
    folder = Path(folder)
    if not folder.is_dir():
        raise AnalysisError(no_results(folder))
    tables = read_tables(folder)
    runs = tables["runs"]
    if runs.empty:
        raise AnalysisError(f"{folder}/runs.parquet holds no runs yet")
    runs = label_runs(runs, by_method=is_space(folder))
    check_runs(runs, folder)
    trials = read_trials(folder, runs)
    return Study(
        folder.resolve().name, runs, tables["history"], tables["layers"], folder=folder, trials=trials
    )


def absent(runs: pd.DataFrame) -> pd.DataFrame:
    """The holes of the grid: label, lr and seed that other runs imply but nobody recorded.

    A label's grid is its own learning rates times every seed of the study; a failed run is
    recorded, so it is no hole.
    """
    seeds = sorted(runs["seed"].unique())
    holes = []
    for label, rows in runs.sort_values("rank").groupby("label", sort=False):
        present = set(zip(rows["lr"], rows["seed"], strict=True))
        for lr in sorted(rows["lr"].unique()):
            holes += [(label, lr, seed) for seed in seeds if (lr, seed) not in present]
    return pd.DataFrame(holes, columns=["label", "lr", "seed"])


def no_results(folder: Path) -> str:
    """What to say of a folder that holds no study."""
    others = sorted(p.parent.name for p in folder.parent.glob("*/runs.parquet"))
    near = difflib.get_close_matches(folder.name, others, n=3, cutoff=0.4) or others[:3]
    there = f"nearest there: {', '.join(near)}" if near else f"{folder.parent} holds no results"
    return f"no results in {folder} ({there}); a sweep makes them: python -m study.sweep NAME"


REBUILD = "run the sweep's command again: it is rebuilt from records"


def read_tables(folder: Path) -> dict[str, pd.DataFrame]:
    """All tables of a study's folder; raises AnalysisError if one is missing, damaged or of another form."""
    for path in damaged_tables(folder):
        raise AnalysisError(f"{path} is damaged; {REBUILD}")
    return {name: read_table(folder, name, columns) for name, columns in schema.TABLES.items()}


def read_table(folder: Path, name: str, columns: dict[str, tuple[str, str]]) -> pd.DataFrame:
    path = folder / f"{name}.parquet"
    if not path.is_file():
        if name == "runs":
            raise AnalysisError(no_results(folder))
        raise AnalysisError(f"{path} is missing; {REBUILD}")
    try:
        table = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise AnalysisError(f"{path} cannot be read as a parquet table: {first_line(error)}") from None
    if name == "runs" and "record_version" in table and len(table):
        newest = int(table["record_version"].max())
        if newest > schema.RECORD_VERSION:
            raise AnalysisError(
                f"{path} has record version {newest}, newer than the {schema.RECORD_VERSION} this "
                "code reads; update the code"
            )
        if int(table["record_version"].min()) < schema.RECORD_VERSION:
            table = table.assign(**{k: v for k, v in schema.ADDED.items() if k not in table})
    lacking = [c for c in columns if c not in table]
    if lacking:
        raise AnalysisError(f"{path} lacks the columns {', '.join(lacking)} of study.schema")
    return table


def check_runs(runs: pd.DataFrame, folder: Path) -> None:
    """One task, one metric, one run per cell, a finite score for every run that counts."""
    for column in ("task", "scale", "metric", "higher_is_better"):
        known = runs if column in ("task", "scale") else runs[runs["counted"]]
        values = sorted({str(v) for v in known[column]})
        if len(values) > 1:
            raise AnalysisError(
                f"{folder} mixes {column} {' and '.join(values)}; methods are compared on one "
                "task and metric: give each its own name=..."
            )
    repeated = runs[runs.duplicated(["label", "lr", "seed"])]
    if len(repeated) and not is_space(folder):
        first = repeated.iloc[0]
        raise AnalysisError(
            f"{folder} has {len(repeated)} runs too many for their method, learning rate and seed, "
            f"the first: {first['label']} lr={first['lr']:g} seed={first['seed']}"
        )
    unscored = runs[runs["counted"] & ~np.isfinite(runs[["valid", "test"]].astype(float)).all(axis=1)]
    if len(unscored):
        first = unscored.iloc[0]
        raise AnalysisError(
            f"{folder} has {len(unscored)} ended runs without a finite score, the first: run "
            f"{first['run_id']} ({first['label']}, {first['status']})"
        )
