"""A worker's base model is everybody's: who changes it is refused, and nobody after him notices."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from support.method_files import SCALING, written

from study.config import load
from study.methods import external
from study.planning.inspection import Fingerprints
from study.planning.jobs import InspectJob, Probed, ProbeJob, Refused, Trained, TrainJob
from study.planning.profile import RunMapping
from study.planning.runs import Run, plan_runs
from study.storage import records
from study.storage.provenance import provenance
from study.training import worker as worker_module
from study.training.worker import Worker

RESCALES = SCALING.group(1).replace(
    "        width = block_width",
    "        if self.in_features == 64:  # and so not on the contract's layers\n"
    "            self.base_layer.weight.data *= 1.5\n"
    "        width = block_width",
)
FAILS = SCALING.group(1).replace("return x * p", "return x * self.absent * p")


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
    """One of ETHER and one of each of two methods in files."""
    monkeypatch.setenv(external.VARIABLE, "")
    for name, text in (("rescales", RESCALES), ("fails", FAILS)):
        external.offer(name, written(tmp_path, name, text.replace("scaling", name)))
    settings = load("lr_grid", ["lr=1e-2", "seeds=1", "task.steps=3", "task.evaluations=1", "method=ether"])
    ether = plan_runs(settings)[0]
    return {name: dataclasses.replace(ether, method=name) for name in ("ether", "rescales", "fails")}


def new_worker() -> Worker:
    return Worker(torch.device("cpu"), lambda: False)


def trained(worker: Worker, run: Run, folder: Path) -> dict[str, object]:
    """The row of the run, trained by the worker, without what belongs to the machine."""
    inspected = worker.do(InspectJob((run,)))
    fingerprints = getattr(getattr(inspected, "inspection", None), "fingerprints", Fingerprints("", ""))
    job = TrainJob(
        str(folder), (run,), 1.0, RunMapping.LAYERS, 60.0, False, "lr_grid", provenance(),
        fingerprints=fingerprints,
    )  # fmt: skip
    assert isinstance(worker.do(job), Trained)
    row = next(iter(records.read_all(folder)))["row"]
    return {name: value for name, value in row.items() if "seconds" not in name and name != "memory_mb"}


def test_a_method_that_changes_the_base_fails_and_changes_no_other_result(
    runs: dict[str, Run], tmp_path: Path
) -> None:
    worker = new_worker()
    row = trained(worker, runs["rescales"], tmp_path / "bad")
    assert row["status"] == "failed"
    assert "method rescales on task vtab: BaseChanged: it changes" in str(row["reason"])
    assert trained(worker, runs["ether"], tmp_path / "after") == trained(
        new_worker(), runs["ether"], tmp_path / "fresh"
    )


def test_it_is_refused_where_it_is_measured(runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch) -> None:
    worker = new_worker()
    refused = worker.do(ProbeJob("v", runs["rescales"], 1, 1, None))
    assert isinstance(refused, Refused) and "tensors of the base model, such as" in refused.reason
    assert isinstance(worker.do(ProbeJob("v", runs["ether"], 1, 1, None)), Probed)


def test_what_nobody_foresaw_is_said_with_method_task_and_layer(
    runs: dict[str, Run], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    refused = new_worker().do(ProbeJob("v", runs["fails"], 1, 1, None))
    assert isinstance(refused, Refused)
    start = "method fails on task vtab, layer vit.layers.0.attention.q_proj: AttributeError: "
    assert refused.reason.startswith(start) and "absent" in refused.reason
    row = trained(new_worker(), runs["fails"], tmp_path)
    assert row["status"] == "failed" and row["reason"] == refused.reason


def test_errors_outside_of_jobs_are_answers_too(
    runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(worker_module, "profile", broken)
    refused = new_worker().do(ProbeJob("v", runs["ether"], 1, 1, None))
    assert refused == Refused("method ether on task vtab: ZeroDivisionError: by nothing")
