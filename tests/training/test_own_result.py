"""A run's result is its own: the same alone, in any pack, after any other run, and after an interruption."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.base_scores import untouched
from support.small_models import FAMILIES, Convolutions, FamilyTask
from torch import Tensor, nn

from study import methods
from study.planning.profile import RunMapping
from study.storage.checkpoints import Attempt, Stopped
from study.tasks import Batch
from study.training.frozen_base import BaseSeal
from study.training.hyperparameters import Hyperparameters
from study.training.passes import base_model
from study.training.probe import find_mapping, profile
from study.training.train import train

BASE = untouched()
RUNS = [Hyperparameters(lr, seed) for seed in range(4) for lr in (3e-3, 3e-2)][:7]
DROPPED_LORA = ("lora", {"lora_dropout": 0.1, "r": 2})

Figures = list[list[float]]
"""Each run's losses and distances, at every point of its history but the first."""


def config_of(method: str, options: dict[str, Any], task: FamilyTask) -> Any:
    return methods.config(method, options, task.settings.target_modules)


def figures(
    task: FamilyTask,
    model: nn.Module,
    config: Any,
    size: int,
    mapping: RunMapping = RunMapping.LAYERS,
    runs: Sequence[Hyperparameters] = RUNS,
) -> Figures:
    """In packs of `size`, one after the other."""
    table = []
    for start in range(0, len(runs), size):
        for trained in train(task, model, config, runs[start : start + size], BASE, mapping=mapping):
            history = [[p.train_loss, p.valid_loss, p.weight_distance] for p in trained.history[1:]]
            table.append([figure for point in history for figure in point])
    return table


def same(one: Figures, other: Figures) -> None:
    """Tolerance: float32 sums in another order."""
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("method,options", [("ether", {"blocks": 4}), DROPPED_LORA], ids=lambda v: str(v))
@pytest.mark.parametrize("family", FAMILIES)
def test_every_pack_size_gives_the_same_table(family: str, method: str, options: dict[str, Any]) -> None:
    task = FamilyTask(family)
    model = task.model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    config = config_of(method, options, task)
    mapping, reason = find_mapping(task, model, config)
    assert mapping is not None, reason
    alone = figures(task, model, config, 1)
    assert len({tuple(row) for row in alone}) == len(RUNS)
    for size in (3, 7):
        same(figures(task, model, config, size, mapping), alone)
    assert figures(task, model, config, 1) == alone  # bit for bit, after all the others
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("method,options", [
    ("loha", {"r": 2, "rank_dropout": 0.2}), ("lokr", {"r": 2, "module_dropout": 0.3}), ("pvera", {"r": 4}),
    ("boft", {"boft_dropout": 0.2}), ("peft:oft", {"module_dropout": 0.3, "oft_block_size": 8}),
])  # fmt: skip
def test_methods_that_draw_train_in_packs(method: str, options: dict[str, Any]) -> None:
    task = FamilyTask("vit")
    model = task.model()
    config = config_of(method, options, task)
    mapping, reason = find_mapping(task, model, config)
    assert mapping is not None, reason
    alone = figures(task, model, config, 1, runs=RUNS[:4])
    same(figures(task, model, config, 4, mapping, RUNS[:4]), alone)


def test_seeds_pair_across_methods() -> None:
    """At the start ETHER+ and LoRA are the base model: what its dropout draws does not tell them apart."""
    task = FamilyTask("bert", steps=1, evaluations=1)
    first_losses = []
    for method, options in [("ether_plus", {"blocks": 4}), ("lora", {"r": 2}), ("hra", {"r": 2})]:
        model = task.model()
        trained = train(task, model, config_of(method, options, task), RUNS[:3:2], BASE)
        first_losses.append([of_run.history[-1].train_loss for of_run in trained])
    torch.testing.assert_close(first_losses[1], first_losses[2], rtol=1e-5, atol=1e-6)
    assert first_losses[1][0] != first_losses[1][1]


def test_dropout_drops() -> None:
    """The losses of training are not those without dropout: nothing switched it off."""
    task, still = FamilyTask("bert", steps=1, evaluations=1), FamilyTask("bert", steps=1, evaluations=1)
    calm = still.model()
    for module in calm.modules():
        module.p = 0.0 if isinstance(module, nn.Dropout) else getattr(module, "p", None)
    calm.config.attention_probs_dropout_prob = 0.0
    losses = [
        train(task, model, config_of("lora", {"r": 2}, task), RUNS[:1], BASE)[0].history[-1].train_loss
        for model in (task.model(), calm)
    ]
    assert abs(losses[0] - losses[1]) > 1e-3


class Interrupted(Attempt):
    """Is stopped after so many steps, once."""

    def __init__(self, folder: Path, names: Sequence[str], steps: int) -> None:
        left = iter(range(steps))
        super().__init__(folder, names, every_s=1e9, stop=lambda: next(left, None) is None)


@pytest.mark.parametrize("cut", [[0, 1, 2, 3, 4, 5, 6], [5, 1], [3]], ids=["as it was", "two of it", "one"])
@pytest.mark.parametrize("family", ["bert", "convolutions"])
def test_an_interruption_changes_nothing_also_where_packs_are_cut_anew(
    family: str, cut: list[int], tmp_path: Path
) -> None:
    task, names = FamilyTask(family), [f"run-{index}" for index in range(len(RUNS))]
    config = config_of(*DROPPED_LORA, task)
    undisturbed = figures(task, task.model(), config, 7)
    with pytest.raises(Stopped):
        train(task, task.model(), config, RUNS, BASE, Interrupted(tmp_path, names, 2))
    attempt = Attempt(tmp_path, [names[index] for index in cut], every_s=1e9)
    (saved,) = attempt.load()
    assert saved.step == 3 and saved.rows == tuple(cut)
    torch.rand(3)  # where the process's own generator is does not matter
    resumed = train(task, task.model(), config, [RUNS[index] for index in cut], BASE, attempt)
    for index, trained in zip(cut, resumed, strict=True):
        history = [[p.train_loss, p.valid_loss, p.weight_distance] for p in trained.history[1:]]
        same([[figure for point in history for figure in point]], [undisturbed[index]])


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("family", ["bert", "llama", "vit"])
def test_gradient_checkpointing_draws_the_same_again(family: str, runs: int) -> None:
    tables = []
    for checkpointing in (False, True):
        task = FamilyTask(family, gradient_checkpointing=checkpointing)
        model = base_model(task, torch.device("cpu"))
        tables.append(figures(task, model, config_of(*DROPPED_LORA, task), runs, runs=RUNS[:3]))
    same(*tables)


class DrawsInTask(FamilyTask):
    """Adds noise to its inputs while training, and takes other pictures each time: as diffusion does."""

    def batch(self, seed: int, step: int) -> Batch:
        batch = super().batch(seed, step)
        return batch | {"inputs": batch["inputs"] + float(np.random.rand()) + torch.rand([])}

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        if model.training:
            times = torch.randint(0, 10, (len(batch["inputs"]), 1, 1, 1))
            noise = torch.randn(batch["inputs"].shape, generator=torch.Generator().manual_seed(0))
            batch = batch | {"inputs": batch["inputs"] + noise * times / 10}
        return super().forward(model, batch)


def test_what_a_task_draws_is_the_runs_own() -> None:
    task = DrawsInTask("vit")
    model = task.model()
    config = config_of("ether", {"blocks": 4}, task)
    alone = figures(task, model, config, 1)
    same(figures(task, model, config, 7), alone)
    assert len({tuple(row) for row in alone}) == len(RUNS)


@pytest.mark.parametrize(
    "draw", [lambda: torch.rand([]), lambda: np.random.uniform()], ids=["torch", "numpy"]
)
def test_a_model_that_skips_layers_at_random_trains_one_by_one(draw: Any) -> None:
    """One number decides for all that is in the batch: it cannot be each run's own."""

    class Skips(FamilyTask):
        def forward(self, model: nn.Module, batch: Batch) -> Tensor:
            skip = bool(model.training and float(draw()) < 0.5)
            return super().forward(model, batch) * (0.5 if skip else 1)

    task = Skips("vit", steps=8)
    model = task.model()
    config = config_of("ether", {"blocks": 4}, task)
    mapping, reason = find_mapping(task, model, config)
    assert mapping is None and "once for all runs" in reason
    again = [
        figures(task, model, config, 1, runs=RUNS[:2]),
        figures(task, model, config, 1, runs=RUNS[1::-1]),
    ]
    assert again[0] == again[1][::-1]


class Normalised(Convolutions):
    """Power iterations move buffers in every forward in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.between = torch.nn.utils.parametrizations.spectral_norm(nn.Linear(32, 32))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.between(super().forward(pictures))


def test_measuring_and_training_leave_moving_buffers_as_they_were() -> None:
    class Task(FamilyTask):
        def model(self) -> nn.Module:
            with torch.random.fork_rng():
                torch.manual_seed(0)
                return Normalised().requires_grad_(False)

    task = Task("convolutions", accumulate=2)
    model = task.model()
    seal = BaseSeal(model)
    config = config_of("ether", {"blocks": 4}, task)
    assert find_mapping(task, model, config) == (RunMapping.LAYERS, "")
    assert seal.changed() == []
    profile(task, model, config, runs=3, pack_size=3)
    assert seal.changed() == []
    alone = figures(task, model, config, 1)
    assert seal.changed() == []
    same(figures(task, model, config, 7), alone)
    model.train()(torch.randn(2, 3, 16, 16))
    assert any("weight" in name and name.endswith("_u") for name in seal.changed())  # it does move them


def test_statistics_of_a_frozen_base_are_those_that_are_stored() -> None:
    """BatchNorm by hand: its output in training is (x - stored mean) / sqrt(stored variance + eps)."""
    task, seen = FamilyTask("convolutions", steps=1, evaluations=1), []
    model = task.model()
    model.norm.register_forward_hook(lambda norm, x, y: seen.append((x[0].detach(), y.detach())))
    train(task, model, config_of("ether", {"blocks": 4}, task), RUNS[:2], BASE)
    for x, y in seen:
        mean, variance = (v[:, None, None] for v in (model.norm.running_mean, model.norm.running_var))
        torch.testing.assert_close(y, (x - mean) / (variance + model.norm.eps).sqrt(), rtol=1e-4, atol=1e-5)
    assert int(model.norm.num_batches_tracked) == 0
