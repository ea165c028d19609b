"""Tables whose columns with gaps are of nullable types say the same as those of floats and objects."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from support.paths import REFERENCE
from support.records import synthetic
from support.records.synthetic import hill

from analysis.data.labels import label_runs, setting_text, settings_columns
from analysis.data.table import Study, load
from analysis.paper.control import control_sentences, control_table
from analysis.paper.figures.blocks import draw_blocks
from analysis.paper.figures.mechanism import draw_mechanism
from analysis.paper.figures.perturbation import draw_perturbation
from analysis.paper.sections import table_text
from analysis.paper.tables import measured
from analysis.reporting.sections import shared_settings

STUDIES = ("lr_grid", "blocks", "mechanism", "perturbation")


def nullable(runs: pd.DataFrame) -> pd.DataFrame:
    """Settings as Int64, Float64, boolean or string, with pd.NA where they are missing."""
    columns = settings_columns(runs)
    return runs.assign(**{name: runs[name].convert_dtypes() for name in columns})


def plain(runs: pd.DataFrame) -> pd.DataFrame:
    """Settings as floats with nan, or as objects with None."""

    def plain_column(column: pd.Series) -> pd.Series:
        if pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
            return column.astype(object).where(column.notna(), None)
        return column.astype(float)

    return runs.assign(**{name: plain_column(runs[name]) for name in settings_columns(runs)})


def both(name: str) -> list[Study]:
    runs = pd.read_parquet(REFERENCE / name / "runs.parquet")
    history = pd.read_parquet(REFERENCE / name / "history.parquet")
    return [Study("s", label_runs(form(runs)), history, pd.DataFrame()) for form in (nullable, plain)]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (pd.NA, "none"), (None, "none"), (math.nan, "none"), (np.float64("nan"), "none"),
        (4, "4"), (4.0, "4"), (np.int64(4), "4"), (np.float64(4), "4"), (1e6, "1000000"),
        (0.5, "0.5"), (1e-4, "0.0001"), (True, "True"), (np.bool_(False), "False"), ("rte", "rte"),
    ],
)  # fmt: skip
def test_settings_as_text(value: object, text: str) -> None:
    assert setting_text(value) == text


@pytest.mark.parametrize("name", STUDIES)
def test_labels_ranks_and_settings_are_the_same(name: str) -> None:
    typed, untyped = both(name)
    dtypes = typed.runs[settings_columns(typed.runs)].dtypes
    assert {"Int64", "boolean", "string"} & {str(dtype) for dtype in dtypes}
    for column in ("label", "rank", "counted"):
        assert typed.runs[column].tolist() == untyped.runs[column].tolist()
    assert shared_settings(typed.runs) == shared_settings(untyped.runs)
    assert "<NA>" not in str(shared_settings(typed.runs))
    tables = [measured(Study("s", study.runs.assign(study="s"), study.history, study.layers))
              for study in (typed, untyped)]  # fmt: skip
    assert [row["options"] for row in tables[0]] == [row["options"] for row in tables[1]]


def test_missing_settings_come_last() -> None:
    made = []
    for clip in (None, 1.0, 0.5):
        for record in synthetic.records({"ether": hill(0, 1)}, [1e-2], 1):
            record["row"] |= {"run_id": f"{clip}", "task.clip": clip}
            made.append(record)
    runs = synthetic.tables(made)["runs"]
    for column in (runs["task.clip"].astype(float), runs["task.clip"].astype("Float64")):
        labelled = label_runs(runs.assign(**{"task.clip": column})).sort_values("rank")
        assert labelled["label"].tolist() == ["ether clip=0.5", "ether clip=1", "ether clip=none"]


@pytest.mark.slow
@pytest.mark.parametrize("draw", [draw_blocks, draw_mechanism, draw_perturbation])
def test_figures_are_the_same(draw: Callable[[Study, Path], Path], tmp_path: Path) -> None:
    name = draw.__name__.removeprefix("draw_")
    for folder, study in zip(("typed", "untyped"), both(f"{name}"), strict=True):
        draw(study, tmp_path / folder)
    for file in (tmp_path / "typed").iterdir():
        assert file.read_bytes() == (tmp_path / "untyped" / file.name).read_bytes(), file.name


def test_the_control_says_the_same() -> None:
    typed, untyped = (control_table(study) for study in both("mechanism"))
    assert control_sentences(typed) == control_sentences(untyped)
    assert table_text(typed) == table_text(untyped)


def test_a_study_with_gaps_is_read(tmp_path: Path) -> None:
    made = synthetic.records({"ether": hill(-2, 2), "lora": hill(-2, 1)}, seeds=2)
    for record in made:
        if record["row"]["method"] == "lora":
            del record["row"]["method.lora.blocks"]
            record["row"]["method.lora.r"] = 8
    folder = synthetic.write(tmp_path / "s", made)
    runs = pd.read_parquet(folder / "runs.parquet")
    nullable(runs).to_parquet(folder / "runs.parquet", index=False)
    study = load(folder)
    assert study.labels == ["ether", "lora"]
    assert ("method.ether.blocks", "4") in shared_settings(study.runs)
