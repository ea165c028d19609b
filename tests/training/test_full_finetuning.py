"""Full finetuning in the study's trainer: the same as a plain loop on the model itself."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from support import small_models
from support.base_scores import untouched
from support.small_models import FAMILIES, FamilyTask

from study import methods, tasks
from study.config import load
from study.methods.full import FullConfig
from study.planning.runs import plan_runs
from study.storage.checkpoints import Attempt, Stopped
from study.training.adaptation import peft_config
from study.training.frozen_base import BaseSeal, train_mode
from study.training.hyperparameters import Hyperparameters
from study.training.inspection import parameter_count
from study.training.memory import footprint
from study.training.probe import find_mapping, profile
from study.training.schedule import learning_rate_share
from study.training.train import TrainedRun, Training, train

RUNS = [Hyperparameters(1e-3, 0), Hyperparameters(1e-2, 1), Hyperparameters(1e-2, 0)]
BASE = untouched()


@pytest.fixture
def without_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_models, "DROPOUT", 0.0)


def plain_losses(task: FamilyTask, run: Hyperparameters) -> list[float]:
    """An ordinary loop over the model itself: neither `peft` nor packs."""
    model = task.model()
    train_mode(model)
    trained = list(model.requires_grad_(True).parameters())
    optimizer, losses = torch.optim.AdamW(trained, lr=run.lr, weight_decay=0.1), []
    for step in range(task.settings.steps):
        optimizer.param_groups[0]["lr"] = run.lr * learning_rate_share(step, task.settings.steps, 1)
        batch = task.batch(run.seed, step)
        loss = task.losses(task.forward(model, batch), batch).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("family", FAMILIES)
def test_runs_are_those_of_a_plain_loop_on_the_model_itself(family: str, without_dropout: None) -> None:
    """Tolerance: float32 sums in another order."""
    task = FamilyTask(family, weight_decay=0.1)
    model = task.model()
    seal = BaseSeal(model)
    mapping, _ = find_mapping(task, model, FullConfig())
    packs = [[run] for run in RUNS] if mapping is None else [[RUNS[0]], RUNS]
    for runs in packs:
        runs = [dataclasses.replace(run, settings=task.settings) for run in runs]
        training = Training(task, model, FullConfig(), runs, *([mapping] if mapping else []))
        losses = torch.stack([training.train_step().double() for _ in range(task.settings.steps)])
        training.close()
        for index, run in enumerate(runs):
            expected = torch.tensor(plain_losses(task, run), dtype=torch.float64)
            torch.testing.assert_close(losses[:, index], expected, rtol=1e-4, atol=1e-5)
    assert not seal.changed()


def test_an_interruption_changes_nothing(tmp_path: Path) -> None:
    task = FamilyTask("deberta-v2")

    def trained(attempt: Attempt | None = None) -> list[TrainedRun]:
        return train(task, task.model(), FullConfig(), RUNS[:1], BASE, attempt)

    left = iter(range(2))
    with pytest.raises(Stopped):
        trained(Attempt(tmp_path, ["run"], every_s=1e9, stop=lambda: next(left, None) is None))
    attempt = Attempt(tmp_path, ["run"], every_s=1e9)
    resumed, undisturbed = trained(attempt)[0], trained()[0]
    assert str(resumed.layers) == str(undisturbed.layers) and len(resumed.layers) > 10  # nan is not nan
    assert [p.valid_loss for p in resumed.history] == [p.valid_loss for p in undisturbed.history]
    assert all(row.weight_distance > 0 and math.isnan(row.transform_distance) for row in resumed.layers)


def test_what_it_needs_of_memory_has_the_copy_the_optimizer_and_the_gradients_in_it() -> None:
    task = FamilyTask("llama")
    model = task.model()
    size_mb = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    needs = footprint(task, model, FullConfig(), None)
    assert needs.weights_mb == pytest.approx(size_mb, rel=0.02)  # buffers aside
    assert needs.trained_mb(1) == pytest.approx(4 * size_mb)  # twice the numbers, and Adam's two averages
    assert needs.run_mb > 2 * size_mb  # all gradients, as one vector and as the leaves'


@pytest.mark.parametrize("task,sizes", [
    ("vtab", (152_202, 0)), ("glue", (284_546, 0)), ("instruct", (757_120, 0)),
    ("s2i", (1_082_188, 48_832)), ("subject", (1_082_188, 0)),
])  # fmt: skip
def test_the_whole_model_of_every_task_but_what_it_freezes(task: str, sizes: tuple[int, int]) -> None:
    """The whole of it; of a diffusion model the UNet, beside which its encoder of maps is trained."""
    few = ["task.class_pictures=4"] if task == "subject" else []
    settings = load("lr_grid", [f"task={task}", "method=full", "lr=1e-3", "seeds=1", "task.steps=1", *few])
    loaded: Any = tasks.load(settings.task)
    model = loaded.model()
    config: Any = peft_config(plan_runs(settings)[0], loaded, model)
    draws = task in ("s2i", "subject")
    assert config.target_modules == (["unet"] if draws else None)
    costs = profile(loaded, model, config, runs=1, pack_size=1)
    whole = model.unet if draws else model
    encoder = sum(p.numel() for p in model.control_encoder.parameters()) if task == "s2i" else 0
    assert costs.footprint.parameters == sum(sizes) == sum(p.numel() for p in whole.parameters()) + encoder
    assert methods.config("full", {}).target_modules is None


def test_stable_diffusion_has_as_many_parameters_as_table_2_says() -> None:
    """DreamBooth's 859.5M: all of SD-1.5's UNet, on the meta device."""
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        unet = diffusers.UNet2DConditionModel(cross_attention_dim=768).requires_grad_(False)
    assert parameter_count(unet, FullConfig()) == 859_520_964
