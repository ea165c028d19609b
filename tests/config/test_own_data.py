"""A path to own data is enough: no subset of the task's data, and a head for its classes."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.texts.labelled_text import rows_of, write

from study import config, tasks
from study.planning.runs import plan_runs


@pytest.mark.parametrize(
    ("arguments", "subset", "head_lr", "name"),
    [
        (["task=glue", "task.data=my.csv"], None, 1e-3, "lr_grid_glue"),
        (["task=glue", "task.data=my.csv", "task.head_lr=1e-2"], None, 1e-2, "lr_grid_glue"),
        (["task=glue", "task.data=my.csv", "task.subset=rte"], "rte", 1e-3, "lr_grid_glue_rte"),
        (["task=glue", "scale=paper", "task.data=my.csv"], None, 1e-3, "lr_grid_glue_paper"),
        (["task=glue", "scale=paper", "task.data=glue"], "cola", 1e-3, "lr_grid_glue_cola_paper"),
        (["task=glue", "scale=paper", "task.data=nyu-mll/glue"], "cola", 1e-3, "lr_grid_glue_cola_paper"),
        (["task=glue"], "acceptability", 1e-3, "lr_grid_glue_acceptability"),
        (["task=glue", "task.data=prose"], "acceptability", 1e-3, "lr_grid_glue_acceptability"),
        (["task.data=./photos"], None, 1e-3, "lr_grid"),
        (["task.data=./photos", "task.head_lr=null"], None, None, "lr_grid"),
        (["task.data=digits-upright"], None, None, "lr_grid"),
        (["task=instruct", "task.data=my.json"], None, None, "lr_grid_instruct"),
    ],
)
def test_what_follows_from_own_data(
    arguments: list[str], subset: str | None, head_lr: float | None, name: str
) -> None:
    settings = config.load("lr_grid", arguments)
    assert (settings.task.subset, settings.task.head_lr, settings.name) == (subset, head_lr, name)


def test_own_data_as_an_axis_and_in_place_of_a_sweeps_subsets() -> None:
    settings = config.load("lr_grid", ["task=glue", "task.data=a.csv,b.csv"])
    assert settings.axes == {"task.data": ["a.csv", "b.csv"]} and settings.task.subset is None
    assert "task.subset" not in config.load("head_alone", ["task.data=a.csv"]).axes


@pytest.mark.parametrize(
    ("given", "columns"),
    [("review", ["review"]), ("[review]", ["review"]), ("[premise,hypothesis]", ["premise", "hypothesis"])],
)
def test_one_column_or_two(given: str, columns: list[str]) -> None:
    settings = config.load("lr_grid", ["task=glue", "task.data=my.csv", f"task.text_column={given}"])
    assert settings.task.text_column == columns


def test_columns_as_an_axis() -> None:
    settings = config.load(
        "lr_grid",
        ["task=glue", "task.data=my.csv", "task.text_column=title,[title,body]", "seeds=1", "lr=1e-3"],
    )
    columns = [run.task.text_column for run in plan_runs(settings) if run.method == "ether"]
    assert columns == [["title"], ["title", "body"]]


def test_the_readmes_command_with_the_shipped_model_and_another(tmp_path: Path) -> None:
    rows = [{"review": row["text"], "sentiment": row["label"]} for row in rows_of(40, lambda i: "ab"[i % 2])]
    data = write(tmp_path / "my.csv", rows)
    for model in ("shipped", str(tasks.shipped_checkpoint("glue"))):
        task = tasks.load(
            config.load(
                "lr_grid",
                ["task=glue", f"task.model={model}", f"task.data={data}", "task.text_column=review",
                 "task.label_column=sentiment"],
            ).task
        )  # fmt: skip
        summary = task.data_summary()
        assert summary.rows == {"train": 32, "valid": 4, "test": 4} and set(summary.classes) == {"a", "b"}
        assert summary.columns == ("text: review", "label: sentiment")
        assert task.model().num_labels == 2
