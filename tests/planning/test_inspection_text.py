"""What a user reads of a task before anything runs."""

from __future__ import annotations

import dataclasses

from study.config import load
from study.planning.inspection import (
    Fingerprints,
    Inspection,
    ModelSummary,
    runs_to_inspect,
    task_key,
)
from study.planning.inspection_text import format_inspections
from study.planning.runs import plan_runs
from study.tasks.data_summary import DataSummary, Lengths

DATA = DataSummary(
    rows={"train": 1800, "valid": 200, "test": 250},
    kind="classification",
    columns=("text: review", "label: mood"),
    classes={"bad": 1000, "good": 800},
    lengths=Lengths("tokens", 301, 128, 1234),
    notes=("test: a tenth held out",),
)
MODEL = ModelSummary("Bert", 1_234_567, {"query": 12, "value": 12}, ("pooler", "classifier"), False)


def lines(data: DataSummary, model: ModelSummary, *overrides: str) -> list[str]:
    runs = plan_runs(load("lr_grid", ["task=glue", "task.data=my.csv", "task.model=bert", *overrides]))
    asked = runs_to_inspect(runs)
    found = Inspection(Fingerprints("sha256:a"), data, model, (7,))
    return format_inspections(asked, dict.fromkeys(asked, found))


def test_everything_that_was_understood_is_said() -> None:
    assert lines(DATA, MODEL) == [
        "  data my.csv: train 1,800, valid 200, test 250 rows; classification; 2 classes: bad 1,000, "
        "good 800; text: review, label: mood; longest 301 tokens, 1,234 are cut at 128",
        "    test: a tenth held out",
        "  model bert: Bert, 1,234,567 parameters",
        "  adapts 24 layers (12 query, 12 value); leaves out the head (pooler, classifier)",
    ]


def test_nothing_is_said_of_what_there_is_not() -> None:
    model = dataclasses.replace(MODEL, head=(), adapted={"query": 1})
    assert lines(DataSummary({"train": 1}), model) == [
        "  data my.csv: train 1 rows",
        "  model bert: Bert, 1,234,567 parameters",
        "  adapts 1 layers (1 query)",
    ]


def test_many_classes_are_summed_up_and_a_trained_head_is_named() -> None:
    data = DataSummary(
        {"train": 100}, classes={str(i): 10 + i for i in range(100)}, lengths=Lengths("tokens", 5, 9)
    )
    said = lines(data, dataclasses.replace(MODEL, head_is_trained=True))
    assert "100 classes, from 0 10 to 99 109; longest 5 tokens, none is cut at 9" in said[0]
    assert said[-1].endswith("; trains the head (pooler, classifier)")


def test_what_several_tasks_share_is_said_once() -> None:
    said = lines(DATA, MODEL, "task.max_length=32,64")
    assert sum("model bert" in line for line in said) == sum("adapts" in line for line in said) == 1
    by_subset = lines(DATA, MODEL, "task.subset=a,b")
    assert [line.split(":")[0] for line in by_subset if "data" in line] == [
        "  data my.csv, a",
        "  data my.csv, b",
    ]


def test_one_inspection_holds_for_all_runs_that_read_and_adapt_the_same() -> None:
    """A grid over how runs train needs one; each way of adapting is asked about once."""
    runs = plan_runs(
        load("lr_grid", ["task.batch_size=8,16", "task.steps=5,6", "task.noise=0,1", "method=ether,lora"])
    )
    asked = runs_to_inspect(runs)
    assert [[run.method for run in of_task] for of_task in asked.values()] == [["ether", "lora"]]
    assert {task_key(run.task) for run in runs} == asked.keys()
    heads = plan_runs(load("lr_grid", ["task.head_lr=1e-3,1e-2", "method=ether", "method.ether.blocks=1,2"]))
    assert [len(of_task) for of_task in runs_to_inspect(heads).values()] == [2, 2]
