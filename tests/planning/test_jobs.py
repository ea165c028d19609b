"""Jobs and answers cross processes as JSON; a job is split only where that can help."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from support.records.profiles import profile_of

from study.config import load
from study.planning import jobs
from study.planning.inspection import Fingerprints, Inspection, ModelSummary
from study.planning.jobs import (
    CannotStore,
    Died,
    Estimated,
    EstimateJob,
    Fetched,
    FetchJob,
    Inspected,
    InspectJob,
    Lost,
    Probed,
    ProbeJob,
    Provenance,
    Refused,
    Trained,
    TrainJob,
)
from study.planning.profile import Footprint, RunMapping
from study.planning.runs import Run, plan_runs
from study.tasks.data_summary import DataSummary, Lengths

RUNS = tuple(plan_runs(load("lr_grid", ["method=ether,lora", "seeds=2", "lr=1e-3,1e-2", "task.noise=0,0.1"])))
TRAIN = TrainJob(
    "/results/x", RUNS[:5], 7.0, RunMapping.LOOPS, 60.0, True, "lr_grid", Provenance("torch 2", "abc", True),
    fingerprints=Fingerprints("sha256:ab", "revision:cd"),
)  # fmt: skip
INSPECTION = Inspection(
    Fingerprints("sha256:ab", "unknown"),
    DataSummary({"train": 5}, "classification", ("text: a",), {"no": 2}, Lengths("tokens", 9, 8, 1), ("b",)),
    ModelSummary("Bert", 10, {"query": 3}, ("pooler", "classifier"), True),
    (7, None),
)
ALL_JOBS = [
    TRAIN, ProbeJob("v", RUNS[0], 9, None, 80.0), EstimateJob("v", RUNS[-1]), InspectJob(RUNS[:2]),
    FetchJob(RUNS[0]),
]  # fmt: skip
ALL_ANSWERS = [
    Trained(("ok", "diverged")), Probed(profile_of(3, {3: 0.1})), Estimated(Footprint(5, 10, 1.0, 2.0, 3.0)),
    Inspected(INSPECTION), Fetched(), Refused("no"),
    Refused("away", out_of_reach=True), CannotStore("full"), Died(-9, "killed"), Lost("gone"),
]  # fmt: skip


def runs_of(job: jobs.Job) -> tuple[Run, ...]:
    return job.runs if isinstance(job, TrainJob | InspectJob) else (job.run,)


@pytest.mark.parametrize("job", ALL_JOBS, ids=lambda job: type(job).__name__)
def test_a_job_survives_json(job: jobs.Job) -> None:
    read = jobs.job_from_json(json.loads(json.dumps(jobs.job_to_json(job), allow_nan=False)))
    assert read == job and jobs.job_key(read) == jobs.job_key(job)
    assert [run.run_id for run in getattr(read, "runs", ())] == [
        run.run_id for run in getattr(job, "runs", ())
    ]


@pytest.mark.parametrize("answer", ALL_ANSWERS, ids=lambda answer: type(answer).__name__)
def test_an_answer_survives_json(answer: jobs.Answer) -> None:
    assert jobs.answer_from_json(json.loads(json.dumps(jobs.answer_to_json(answer)))) == answer


def test_a_job_and_an_answer_of_before_fingerprints_are_read() -> None:
    """A task may wait in Slurm's queue while the project is updated."""
    job, answer = jobs.job_to_json(TRAIN), jobs.answer_to_json(Refused("no"))
    del job["fingerprints"], answer["out_of_reach"]
    assert jobs.job_from_json(job) == dataclasses.replace(TRAIN, fingerprints=Fingerprints())
    assert jobs.answer_from_json(answer) == Refused("no")


def test_an_inspection_without_lengths_survives_json() -> None:
    data = dataclasses.replace(INSPECTION.data, lengths=None, classes={})
    answer = Inspected(dataclasses.replace(INSPECTION, data=data))
    assert jobs.answer_from_json(json.loads(json.dumps(jobs.answer_to_json(answer)))) == answer


def test_every_kind_is_tried_here() -> None:
    assert {type(job) for job in ALL_JOBS} == set(jobs.JOB_KINDS.values())
    assert {type(answer) for answer in ALL_ANSWERS} == set(jobs.ANSWER_KINDS.values())


def test_keys_tell_jobs_apart() -> None:
    keys = [jobs.job_key(job) for job in [*ALL_JOBS, *TRAIN.split(), ProbeJob("v", RUNS[0], 9, 3, None)]]
    assert len(set(keys)) == len(keys)
    assert jobs.job_key(TRAIN) == jobs.train_key(TRAIN.pack_id)


def test_halves_hold_every_run_once_and_are_split_again_only_when_asked() -> None:
    halves = TRAIN.split()
    assert [run for half in halves for run in half.runs] == list(TRAIN.runs)
    assert [len(half.runs) for half in halves] == [2, 3] and all(half.halved for half in halves)
    assert math.isclose(sum(half.seconds for half in halves), TRAIN.seconds)
    assert halves[0].split() == [] and len(halves[0].split(again=True)) == 2
    assert halves[0].split(again=True)[0].split(again=True) == []
