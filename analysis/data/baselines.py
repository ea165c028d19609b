"""What an adapter must beat: a head on the frozen model, or an encoder of control pictures, trained alone."""

from __future__ import annotations

import pandas as pd

from analysis.data.labels import is_missing
from analysis.data.scores import direction
from analysis.data.studies import BASELINES, key_of, split
from analysis.data.table import Study
from study.cli.studies import COLLECTIONS

SAME = (
    "task.model", "task.data", "task.segmenter", "task.inception", "task.sampling_steps", "task.guidance",
    "data_fingerprint", "model_fingerprint",
)  # fmt: skip
"""Columns in which a baseline may not differ from what it is a baseline of, where both are known."""


def trained_alone(study: Study) -> pd.DataFrame:
    """The runs of the baseline beside the study, at the settings with the best mean validation score.

    Empty where there is none, or none of the same task, data, model and way of scoring. Column `sweep` says
    what was trained.

    Raises:
        AnalysisError: if the baseline's tables cannot be used.
    """
    nothing = study.runs.iloc[:0]
    if study.folder is None or study.runs["sweep"].iloc[0] in BASELINES:
        return nothing
    beside = study.folder.resolve().parent
    results = beside.parent if beside.name in COLLECTIONS else beside
    for sweep in BASELINES:
        folder = results / sweep
        for other in split(folder) if (folder / "runs.parquet").is_file() else []:
            counted = other.runs[other.runs["counted"]]
            if len(counted) and key_of(other) == key_of(study) and _comparable(study.runs, counted):
                best = (direction(counted) * counted.groupby("label")["valid"].mean()).idxmax()
                return counted[counted["label"] == best]
    return nothing


def _comparable(runs: pd.DataFrame, others: pd.DataFrame) -> bool:
    pairs = [(_known(runs, column), _known(others, column)) for column in SAME]
    return all(ours == theirs for ours, theirs in pairs if ours and theirs)


def _known(runs: pd.DataFrame, column: str) -> set[object]:
    values = runs[column].unique() if column in runs else []
    return {value for value in values if not is_missing(value) and value != ""}
