"""What becomes of the answers of workers that looked at a study's tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from study.config import load
from study.coordination.inspection import inspect
from study.errors import UsageError
from study.launchers import Session
from study.planning.inspection import Fingerprints, Inspection, ModelSummary
from study.planning.jobs import Answer, Died, Inspected, InspectJob, Job, Lost, Refused
from study.planning.runs import Run, plan_runs
from study.tasks.data_summary import DataSummary

FOUND = Inspection(
    Fingerprints("sha256:a", "sha256:m"), DataSummary({"train": 1}), ModelSummary("M", 1, {}, (), False),
    (7, None),
)  # fmt: skip


class Scripted(Session):
    """Answers as it is told, by the subset of the task."""

    def __init__(self, answers: dict[str | None, Answer]) -> None:
        self.answers = answers
        self.asked: list[str | None] = []

    def do(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        for job in jobs:
            assert isinstance(job, InspectJob)
            self.asked.append(job.runs[0].task.subset)
            yield job, self.answers[job.runs[0].task.subset]


def runs_of(*subsets: str) -> list[Run]:
    return plan_runs(load("lr_grid", ["task=glue", "method=ether,lora", f"task.subset={','.join(subsets)}"]))


def test_every_run_has_the_parameters_and_the_origin_that_were_found() -> None:
    runs = runs_of("a", "b")
    understood = inspect(runs, Scripted({"a": Inspected(FOUND), "b": Inspected(FOUND)}), elsewhere=False)
    assert {(run.method, understood.parameters(run)) for run in runs} == {("ether", 7), ("lora", None)}
    assert {understood.origin(run).fingerprints for run in runs} == {FOUND.fingerprints}
    assert {understood.origin(run).subset for run in runs} == {"a", "b"}


@pytest.mark.parametrize("answer, words", [
    (Refused("no such file"), "no such file"),
    (Refused("the hub could not be reached", out_of_reach=True), "the hub could not be reached"),
    (Died(1, "no memory"), "task glue cannot be inspected: no memory"),
    (Lost("gone"), "task glue cannot be inspected: gone"),
])  # fmt: skip
def test_where_the_runs_are_to_train_nothing_may_be_wrong(answer: Answer, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        inspect(runs_of("a", "b"), Scripted({"a": Inspected(FOUND), "b": answer}), elsewhere=False)


def test_elsewhere_only_what_is_wrong_everywhere_is_refused() -> None:
    away = Refused("the hub could not be reached", out_of_reach=True)
    understood = inspect(runs_of("a"), Scripted({"a": away}), elsewhere=True)
    assert list(understood.reasons.values()) == ["the hub could not be reached"]
    run = runs_of("a")[0]
    assert understood.parameters(run) is None and understood.fingerprints(run) == Fingerprints()
    with pytest.raises(UsageError, match="no such file"):
        inspect(runs_of("a"), Scripted({"a": Refused("no such file")}), elsewhere=True)


def test_a_hub_that_does_not_answer_is_asked_once() -> None:
    """It takes half a minute to give up, for each of a benchmark's subsets."""
    session = Scripted({"a": Refused("away", out_of_reach=True)})
    understood = inspect(runs_of("a", "b", "c"), session, elsewhere=True)
    assert session.asked == ["a"] and list(understood.reasons.values()) == ["away"] * 3
