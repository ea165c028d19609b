"""A worker says what it understood, and trains on nothing else than what a study was planned with."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from support.texts.labelled_text import rows_of, write

from study import config
from study.planning.inspection import Fingerprints, runs_to_inspect
from study.planning.jobs import Inspected, InspectJob, Job, Refused, Trained, TrainJob
from study.planning.runs import Run, plan_runs
from study.storage import records
from study.storage.provenance import provenance
from study.tasks import shipped_checkpoint
from study.training.inspection import is_out_of_reach
from study.training.worker import Worker

SHORT = ["seeds=1", "lr=1e-2", "task.steps=1", "task.evaluations=1"]


def answer(job: Job) -> object:
    """A new worker's, as after another command, or on another node."""
    return Worker(torch.device("cpu"), lambda: False).do(job)


def runs_of(*overrides: str) -> list[Run]:
    return plan_runs(config.load("lr_grid", [*SHORT, *overrides]))


def inspected(runs: list[Run]) -> Inspected:
    ((_, asked),) = runs_to_inspect(runs).items()
    found = answer(InspectJob(tuple(asked)))
    assert isinstance(found, Inspected), found
    return found


def train_job(folder: Path, runs: list[Run], fingerprints: Fingerprints, versions: str = "") -> TrainJob:
    made_with = dataclasses.replace(provenance(), versions=versions or provenance().versions)
    return TrainJob(
        str(folder), tuple(runs), 1.0, False, 60.0, False, "lr_grid", made_with, fingerprints=fingerprints
    )


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    return Path(write(tmp_path / "my.csv", rows_of(60, lambda i: "no" if i % 3 else "yes")))


@pytest.fixture
def vit(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_checkpoint("vtab"), tmp_path / "vit"))


def flip_labels(csv: Path) -> None:
    text = csv.read_text()
    csv.write_text(text.replace(",no", ",NO").replace(",yes", ",no").replace(",NO", ",yes"))


def change_weights(vit: Path) -> None:
    tensors = load_file(vit / "model.safetensors")
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    save_file(tensors | {name: -tensors[name]}, vit / "model.safetensors", metadata={"format": "pt"})


def test_the_shape_of_the_model_and_each_methods_parameters() -> None:
    """By hand: a ViT of width 64 in three layers, q k v o of 64 x 64, fc1 and fc2 of 64 x 256."""
    inspection = inspected(runs_of("method=ether,lora,adamss")).inspection
    layers = ("q_proj", "k_proj", "v_proj", "o_proj", "fc1", "fc2")
    assert inspection.model.adapted == dict.fromkeys(layers, 3)
    assert inspection.model.head == ("classifier",) and not inspection.model.head_is_trained
    assert inspection.model.name == "ViTForImageClassification"
    assert sum(inspection.data.rows.values()) == 1797
    ether, lora, from_weights = inspection.parameters
    assert ether == 3 * (4 * 64 + 64 + 256)  # a vector as wide as the input
    assert lora == 3 * 8 * (4 * (64 + 64) + 2 * (64 + 256))
    assert from_weights == 7503  # which takes the weights to tell


def test_a_layer_counts_for_the_longest_name_that_means_it() -> None:
    inspection = inspected(
        runs_of("method=ether", "task=glue", "task.target_modules=[output.dense,attention.output.dense]")
    ).inspection
    assert inspection.model.adapted == {"attention.output.dense": 3, "output.dense": 3}
    assert inspection.model.head_is_trained and "classifier" in inspection.model.head


@pytest.mark.parametrize("overrides, words", [
    (["method=ether", "method.ether.blocks=7"], "method ether: blocks=7 does not divide the width 64"),
    (["method=boft", "method.boft.boft_block_size=7"], "method boft: "),
    (["task.target_modules=[query]"], "has no layer query"),
    (["task=glue", "task.subset=null", "task.data=nope.csv"], "task.data=nope.csv"),
    (["task.model=./nothing"], "task.model=./nothing: no such folder"),
])  # fmt: skip
def test_what_cannot_work_is_refused_in_a_line(overrides: list[str], words: str) -> None:
    runs = next(iter(runs_to_inspect(runs_of(*overrides)).values()))
    refused = answer(InspectJob(tuple(runs)))
    assert isinstance(refused, Refused) and words in refused.reason and "\n" not in refused.reason


@pytest.mark.parametrize("what", ["data", "model"])
def test_what_changes_between_plan_and_training_is_not_trained_on(
    what: str, csv: Path, vit: Path, tmp_path: Path
) -> None:
    overrides, change, path = {
        "data": (["task=glue", "task.subset=null", f"task.data={csv}"], flip_labels, csv),
        "model": ([f"task.model={vit}"], change_weights, vit),
    }[what]
    runs = runs_of("method=ether", *overrides)
    planned = inspected(runs).inspection.fingerprints
    change(path)  # type: ignore[operator]
    refused = answer(train_job(tmp_path / "study", runs, planned))
    assert isinstance(refused, Refused)
    assert f"task.{what}={path} is not what the study began with" in refused.reason
    assert not (tmp_path / "study").exists()
    now = inspected(runs).inspection.fingerprints
    assert now.changed(planned) == [what]
    assert isinstance(answer(train_job(tmp_path / "study", runs, now)), Trained)
    (record,) = records.read_all(tmp_path / "study")
    assert record["row"][f"{what}_fingerprint"] == getattr(now, what)


def test_a_worker_of_other_versions_does_not_train(tmp_path: Path) -> None:
    runs = runs_of("method=ether")
    old = provenance().versions.replace("torch 2.", "torch 1.")
    refused = answer(train_job(tmp_path / "study", runs, Fingerprints(), old))
    assert isinstance(refused, Refused) and "torch 1." in refused.reason
    assert not (tmp_path / "study").exists()


def test_records_say_what_they_were_made_of_even_where_nobody_looked_before(tmp_path: Path) -> None:
    runs = runs_of("method=ether")
    assert isinstance(answer(train_job(tmp_path, runs, Fingerprints())), Trained)
    (record,) = records.read_all(tmp_path)
    found = inspected(runs).inspection.fingerprints
    assert (record["row"]["data_fingerprint"], record["row"]["model_fingerprint"]) == (
        found.data,
        found.model,
    )


def test_a_hub_that_does_not_answer_is_told_from_data_that_are_wrong() -> None:
    def raised(error: Callable[[], None]) -> BaseException:
        with pytest.raises(Exception) as caught:
            error()
        return caught.value

    def hidden_by(cause: Exception) -> Callable[[], None]:
        def fail() -> None:
            try:
                raise cause
            except Exception:
                raise ValueError("cannot be loaded") from None

        return fail

    assert is_out_of_reach(raised(hidden_by(ConnectionError("no route"))))
    assert not is_out_of_reach(raised(hidden_by(FileNotFoundError("my.csv"))))
