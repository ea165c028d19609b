"""A run that is paused at a rung and goes on in another pack ends as if it had never stopped."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch
from support.base_scores import untouched
from support.small_models import FamilyTask

from study import methods
from study.config import load
from study.planning.jobs import InspectJob, Trained, TrainJob
from study.planning.profile import RunMapping
from study.planning.runs import plan_runs
from study.storage import checkpoints, paused, records
from study.storage.checkpoints import Attempt
from study.storage.provenance import provenance
from study.storage.rows import Circumstances, Identity, RunRecord
from study.training.hyperparameters import Hyperparameters
from study.training.outcome import PausedRun, TrainedRun
from study.training.train import train
from study.training.worker import Worker

BASE = untouched()
RUNS = [Hyperparameters(lr, seed) for seed in range(2) for lr in (3e-3, 3e-2)]
DROPPED_LORA = ("lora", {"lora_dropout": 0.1, "r": 2})


def figures(trained: TrainedRun) -> list[list[float]]:
    return [[p.step, p.train_loss, p.valid_loss, p.weight_distance] for p in trained.history[1:]]


def pause(folder: Path, task: FamilyTask, places: list[int], until: int) -> None:
    """Trains a pack of these runs up to a step and keeps each."""
    config = methods.config(*DROPPED_LORA, task.settings.target_modules)
    attempt = Attempt(folder, [f"run-{place}" for place in places], every_s=1e9)
    runs = [RUNS[place] for place in places]
    for place, ended in zip(
        places, train(task, task.model(), config, runs, BASE, attempt, until=until), strict=True
    ):
        assert isinstance(ended, PausedRun)
        assert ended.pruned.outcome.status == "pruned" and math.isnan(ended.pruned.outcome.test)
        identity = Identity(f"run-{place}", "space", "vtab", "mini", "lora", RUNS[place].lr, RUNS[place].seed)
        record = RunRecord(identity, ended.pruned.outcome, Circumstances(), ended.pruned.history)
        paused.write(folder, [record], [ended.state])
    attempt.close()


@pytest.mark.parametrize("family", ["bert", "convolutions"])
def test_runs_of_several_packs_go_on_together(family: str, tmp_path: Path) -> None:
    """Twice: at one rung two packs are joined, at the next one a run of it goes on alone."""
    task = FamilyTask(family, steps=6, evaluations=3)
    config = methods.config(*DROPPED_LORA, task.settings.target_modules)
    undisturbed = [figures(run) for run in train(task, task.model(), config, RUNS, BASE)]  # type: ignore[arg-type]
    pause(tmp_path, task, [0, 1], 2)
    pause(tmp_path, task, [3, 2], 2)
    pause(tmp_path, task, [2, 0], 4)
    assert [paused.step(tmp_path, f"run-{place}") for place in range(4)] == [4, 2, 4, 2]
    assert Attempt(tmp_path, ["run-0", "run-1"], 1e9).load() == []  # at different steps: from the start
    attempt = Attempt(tmp_path, ["run-2"], every_s=1e9)
    torch.rand(3)
    (ended,) = train(task, task.model(), config, [RUNS[2]], BASE, attempt)
    assert isinstance(ended, TrainedRun) and ended.outcome.status in ("ok", "diverged")
    torch.testing.assert_close(figures(ended), undisturbed[2], rtol=1e-5, atol=1e-6)


def test_a_later_checkpoint_goes_before_an_earlier_rung(tmp_path: Path) -> None:
    task = FamilyTask("bert", steps=6, evaluations=3)
    pause(tmp_path, task, [0], 2)
    attempt = Attempt(tmp_path, ["run-0"], every_s=1e9)
    (kept,) = attempt.load()
    tensors, facts = kept.state
    attempt.save(3, (tensors, facts | {"step": 3}))
    assert [saved.step for saved in attempt.load()] == [3]
    attempt.save(1, (tensors, facts | {"step": 1}))
    next(attempt.folder.glob("*3-1.checkpoint")).unlink()
    assert [saved.step for saved in attempt.load()] == [2]


def test_a_damaged_file_is_set_aside_and_the_run_begins_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = FamilyTask("bert", steps=6, evaluations=3)
    pause(tmp_path, task, [0], 2)
    path = tmp_path / "paused" / "run-0.checkpoint"
    path.write_bytes(path.read_bytes()[:-9])
    assert paused.step(tmp_path, "run-0") == 0 and path.exists()
    assert Attempt(tmp_path, ["run-0"], 1e9).load() == []
    assert not path.exists() and "is trained anew" in "".join(capsys.readouterr())


def test_a_worker_keeps_a_pack_at_its_rung_and_ends_it_from_there(tmp_path: Path) -> None:
    settings = load(
        "lr_grid", ["lr=1e-3,1e-2", "seeds=1", "task.steps=4", "task.evaluations=2", "method=ether"]
    )
    runs = tuple(plan_runs(settings))
    worker = Worker(torch.device("cpu"), lambda: False)
    seen = worker.do(InspectJob(runs)).inspection  # type: ignore[union-attr]

    def job(name: str, until: int | None) -> TrainJob:
        return TrainJob(
            str(tmp_path / name), runs, 1.0, RunMapping.LAYERS, 60.0, False, "lr_grid", provenance(),
            until=until, fingerprints=seen.fingerprints,
        )  # fmt: skip

    assert worker.do(job("cut", 2)) == Trained(("paused", "paused"))
    folder = tmp_path / "cut"
    assert paused.run_ids(folder) == {run.run_id for run in runs}
    assert not records.statuses(folder) and not checkpoints.unfinished_packs(folder)
    assert worker.do(job("cut", 2)) == Trained(("paused", "paused"))  # again, for its answer was lost
    assert worker.do(job("cut", None)) == worker.do(job("whole", None)) == Trained(("ok", "ok"))
    assert not (folder / "paused").exists()
    cut, whole = (
        {each["row"]["run_id"]: RunRecord.from_json(each) for each in records.read_all(tmp_path / name)}
        for name in ("cut", "whole")
    )
    for run_id, record in whole.items():
        ours = dataclasses.replace(cut[run_id].outcome, seconds=0.0, step_seconds=0.0)
        assert ours == dataclasses.replace(record.outcome, seconds=0.0, step_seconds=0.0)
        assert cut[run_id].layers == record.layers
        assert cut[run_id].history[1:] == record.history[1:]  # nan at step 0
