"""A task that generates: runs are scored on what they generate, and keep it; with several metrics."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from support.base_scores import untouched
from torch import Tensor, nn

from study import methods, tasks
from study.planning.inspection import Fingerprints
from study.planning.jobs import InspectJob, Trained, TrainJob
from study.planning.profile import RunMapping
from study.planning.runs import Run
from study.settings import TaskSettings
from study.storage import pictures, records
from study.storage.provenance import provenance
from study.storage.rows import RunRecord
from study.storage.tables import tables
from study.tasks import SPLITS, Batch, Task
from study.training.hyperparameters import Hyperparameters
from study.training.inspection import fingerprints
from study.training.packing import pack
from study.training.passes import BaseScores, evaluate, evaluate_runs
from study.training.train import Training, train
from study.training.worker import Worker

SETTINGS = TaskSettings(
    name="walks", model="none", data="made", target_modules=["0"], steps=4, batch_size=4, eval_batch_size=5,
    evaluations=2,
)  # fmt: skip
BASE = untouched()
RUNS = [Hyperparameters(lr, seed, SETTINGS) for seed in range(2) for lr in (1e-2, 3.0)]


class Walks(Task):
    """A model is learnt to move numbers by a step; generated are three steps from where a row starts."""

    metric, chance, higher_is_better = "distance", 9.0, False
    lower_is_better = ("distance", "largest")
    trade_off = ("largest", "other")
    generates, kept_pictures = True, 2

    def __init__(self, settings: TaskSettings = SETTINGS) -> None:
        super().__init__(settings)
        generator = torch.Generator().manual_seed(0)
        self.starts = {split: torch.randn(12, 8, generator=generator) for split in SPLITS}

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(8, 8), nn.Tanh()).requires_grad_(False)

    def size(self, split: str) -> int:
        return len(self.starts[split])

    def examples(self, split: str, indices: Tensor) -> Batch:
        return {"start": self.starts[split][indices]}

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch["start"])

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.mse_loss(outputs, batch["start"] * 0.5, reduction="none").mean(1)

    def sample(self, model: nn.Module, batch: Batch) -> Tensor:
        x = batch["start"]
        for _ in range(3):
            x = model(x)
        return x

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        distance = (predictions - references["start"] * 0.125).norm(dim=1).mean().item()
        return {"largest": predictions.max().item(), "distance": distance}

    def pictures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        def drawn(values: Tensor) -> Tensor:
            return (values.nan_to_num() * 50 + 100).clamp(0, 255).byte().view(-1, 1, 2, 4).repeat(1, 3, 1, 1)

        return {"start": drawn(batch["start"]), "end": drawn(outputs)}


def of_ether() -> object:
    return methods.config("ether", {"blocks": 2}, ["0"])


def test_scores_are_of_what_is_generated_and_losses_are_not() -> None:
    task = Walks()
    model = task.model()
    scores = evaluate(task, model, "test")
    batch = {"start": task.starts["test"]}
    sampled = task.sample(model, batch)
    metrics = task.metrics(sampled, batch)
    assert scores.primary == pytest.approx(metrics["distance"])
    assert scores.further == {"largest": pytest.approx(metrics["largest"])}
    assert scores.loss == pytest.approx(task.losses(task.forward(model, batch), batch).mean().item())


def test_a_pack_generates_for_each_run_what_it_generates_alone() -> None:
    task, seeds = Walks(), [0, 1, 2]
    model = task.model()
    packed, parameters = pack(model, of_ether(), seeds)  # type: ignore[arg-type]
    together = evaluate_runs(task, packed, parameters.copy(), "valid")
    packed.close()
    for run, seed in enumerate(seeds):
        alone, own = pack(model, of_ether(), [seed])  # type: ignore[arg-type]
        (scores,) = evaluate_runs(task, alone, own.copy(), "valid")
        alone.close()
        assert scores.primary == pytest.approx(together[run].primary, rel=1e-5)
        assert scores.further == pytest.approx(together[run].further, rel=1e-5)


class Apart(Walks):
    """Seeds take turns with the two halves of each split; a batch says which rows were asked for."""

    def rows(self, split: str, seed: int) -> Tensor:
        return torch.arange(self.size(split)).view(2, -1)[seed % 2]

    def examples(self, split: str, indices: Tensor) -> Batch:
        return super().examples(split, indices) | {"row": indices}

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        rows = references["row"].tolist()
        return super().metrics(predictions, references) | {"first": float(rows[0]), "rows": float(len(rows))}

    def against_untouched(self, metrics: dict[str, float], untouched: dict[str, float]) -> dict[str, float]:
        return {"grown": metrics["largest"] - untouched["largest"], "beside": untouched["first"]}


def test_each_seed_trains_and_is_scored_on_rows_of_its_own() -> None:
    """In any pack, and beside the untouched model on the same rows."""
    task = Apart()
    model = task.model()
    runs = [Hyperparameters(1e-2, seed, SETTINGS) for seed in (0, 1, 2)]
    base = BaseScores(task, model)
    together = train(task, model, of_ether(), runs, base)  # type: ignore[arg-type]
    for run, trained in zip(runs, together, strict=True):
        (alone,) = train(task, model, of_ether(), [run], base)  # type: ignore[arg-type]
        first = 6.0 * (run.seed % 2)
        assert {int(row) for step in range(4) for row in task.batch(run.seed, step)["row"]} <= set(
            task.rows("train", run.seed).tolist()
        )
        further = trained.outcome.further
        assert (further["first"], further["rows"], further["beside"]) == (first, 6.0, first)
        assert further == pytest.approx(alone.outcome.further, rel=1e-5)
        assert trained.outcome.test == pytest.approx(alone.outcome.test, rel=1e-5)
        assert trained.outcome.base_test == base(run.seed)["test"].primary
        assert further["grown"] == pytest.approx(
            further["largest"] - base(run.seed)["test"].further["largest"]
        )
        assert torch.equal(trained.pictures["end"], alone.pictures["end"])
    assert together[0].outcome.base_test != together[1].outcome.base_test
    assert base(0)["test"] is base(2)["test"]  # measured once


def test_every_run_keeps_its_own_pictures() -> None:
    task = Walks()
    model = task.model()
    together = train(task, model, of_ether(), RUNS, BASE)  # type: ignore[arg-type]
    alone = [train(task, model, of_ether(), [run], BASE)[0] for run in RUNS]  # type: ignore[arg-type]
    for one, other in zip(together, alone, strict=True):
        assert one.pictures["end"].shape == (2, 3, 2, 4) and one.pictures["end"].dtype == torch.uint8
        assert torch.equal(one.pictures["start"], other.pictures["start"])
        assert (one.pictures["end"].int() - other.pictures["end"].int()).abs().max() <= 1
    assert not torch.equal(together[0].pictures["end"], together[1].pictures["end"])


def test_further_metrics_and_pictures_are_in_the_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks, "load", lambda settings: Walks(settings))
    runs = tuple(Run(SETTINGS, "ether", {"blocks": 2}, lr, 0) for lr in (1e-2, 1e-1))
    worker = Worker(torch.device("cpu"), lambda: False)
    inspected = worker.do(InspectJob(runs[:1]))
    found: Fingerprints = inspected.inspection.fingerprints  # type: ignore[union-attr]
    job = TrainJob(
        str(tmp_path), runs, 1.0, RunMapping.LAYERS, 60.0, False, "s", provenance(), fingerprints=found
    )
    assert isinstance(worker.do(job), Trained)
    read = list(records.read_all(tmp_path))
    table = tables(read)
    assert "metric.distance" not in table["runs"] and table["runs"]["metric.largest"].notna().all()
    assert len(table["history"]["metric.largest"]) == 2 * 3
    for record in read:
        row = record["row"]
        kept = pictures.read(tmp_path, row["run_id"], row["pictures"])
        assert list(kept) == ["start", "end"] and kept["end"].shape == (2, 3, 2, 4)
        again = RunRecord.from_json(record)
        assert again.to_json() == record and again.outcome.further == {"largest": row["metric.largest"]}
        assert row["lower_is_better"] == "largest" and again.outcome.lower_is_better == ("largest",)
        assert row["trade_off"] == "largest,other" and again.outcome.trade_off == ("largest", "other")


def test_a_metric_that_no_run_has_is_still_a_number() -> None:
    """Of diverged runs alone: a column of gaps would else be text."""
    row = {"run_id": "a", "metric.largest": math.nan}
    made = tables([{"row": row, "history": [], "layers": []}])["runs"]
    assert made["metric.largest"].dtype == pd.Series([1.0]).dtype


@pytest.mark.parametrize(
    ("head_lr", "cap", "rates"),
    [(1e-3, None, [1e-3, 1e-3]), (None, 1e-4, [1e-5, 1e-4]), (1e-3, 1e-4, [1e-5, 1e-4])],
)
def test_a_head_trains_at_its_own_rate_or_at_the_adapters_up_to_the_cap(
    head_lr: float | None, cap: float | None, rates: list[float], vtab: Task
) -> None:
    settings = dataclasses.replace(vtab.settings, head_lr=head_lr, head_lr_cap=cap)
    vtab_of = type(vtab)(settings)
    config = methods.config("ether", {}, ["q_proj"], list(vtab.head_modules))
    assert settings.trains_head
    training = Training(
        vtab_of, vtab_of.model(), config, [Hyperparameters(lr, 0, settings) for lr in (1e-5, 1e-2)]
    )
    groups = training.optimizer.param_groups
    training.close()
    assert [group["initial_lr"] for group in groups] == [1e-5, 1e-2, *rates]


def test_without_a_rate_no_head_trains() -> None:
    assert not SETTINGS.trains_head and SETTINGS.head_rate(1e-3) is None
    assert fingerprints(Walks()).data  # a task that generates has a fingerprint as any other
