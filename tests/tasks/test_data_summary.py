"""What a task says that it understood of its data: of the miniatures, and at the least."""

from __future__ import annotations

from study import config, tasks
from study.settings import TaskSettings
from study.tasks.data_summary import DataSummary, Lengths
from study.tasks.glue import Glue


def shipped(*overrides: str) -> DataSummary:
    return tasks.load(config.load("lr_grid", list(overrides)).task).data_summary()


def test_of_the_miniatures() -> None:
    digits = shipped()
    assert digits.rows == {"train": 898, "valid": 300, "test": 599}
    assert (
        digits.kind == "classification" and sum(digits.classes.values()) == 898 and len(digits.classes) == 10
    )
    topic = shipped("task=glue", "task.subset=topic")
    assert topic.kind == "classification" and topic.lengths is not None
    assert topic.lengths.limit == 48 and sum(topic.classes.values()) == topic.rows["train"]
    similarity = shipped("task=glue", "task.subset=similarity")
    assert similarity.kind == "regression" and similarity.classes == {}
    asked = shipped("task=instruct")
    assert asked.kind == "instruction tuning" and asked.lengths == Lengths("tokens", 36, 128, 0)


def test_a_task_that_says_no_more_gives_its_rows() -> None:
    class Plain(Glue):
        def __init__(self, settings: TaskSettings) -> None:
            self.settings = settings

        def size(self, split: str) -> int:
            return {"train": 3, "valid": 2, "test": 1}[split]

        data_summary = tasks.Task.data_summary

    assert Plain(TaskSettings()).data_summary() == DataSummary({"train": 3, "valid": 2, "test": 1})
