"""Magnitudes refitted after the adapter: two trainings, one after the other, in every pack."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import get_peft_model

from study import methods, tasks
from study.config.compose import load
from study.errors import UsageError
from study.methods.multiplicative import MultiplicativeLayer
from study.planning.runs import plan_runs
from study.settings import TaskSettings
from study.tasks import Task
from study.training.adaptation import peft_config
from study.training.hyperparameters import Hyperparameters
from study.training.schedule import learning_rate_share
from study.training.train import Training

STEPS, REFIT = 6, 3
SETTINGS = [f"task.steps={STEPS}", f"task.refit_steps={REFIT}", "task.refit_lr=1e-2", "task.warmup_steps=1"]
RUNS = [
    Hyperparameters(1e-3, 0),
    Hyperparameters(1e-2, 1, TaskSettings(weight_decay=0.1)),
    Hyperparameters(3e-3, 2),
]


@pytest.fixture(scope="module")
def task() -> Task:
    return tasks.load(load("lr_grid", SETTINGS).task)


def config_of(method: str, task: Task) -> Any:
    return methods.config(method, {"magnitudes": True}, task.settings.target_modules)


def in_training(method: str, task: Task, runs: list[Hyperparameters]) -> Training:
    return Training(task, task.model(), config_of(method, task), runs)


def by_plain_loops(method: str, task: Task, run: Hyperparameters) -> dict[str, torch.Tensor]:
    """What is trained in the end by two ordinary loops, which know nothing of packs and of refitting."""
    torch.manual_seed(run.seed)
    model = get_peft_model(task.model(), config_of(method, task))
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    magnitudes = [p for name, p in trained.items() if "magnitude" in name]
    others = [p for name, p in trained.items() if "magnitude" not in name]
    step = 0
    for parameters, steps, lr, warmup in ((others, STEPS - REFIT, run.lr, 1), (magnitudes, REFIT, 1e-2, 0)):
        optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=run.settings.weight_decay)
        for own_step in range(steps):
            optimizer.param_groups[0]["lr"] = lr * learning_rate_share(own_step, steps, warmup)
            batch = task.batch(run.seed, step)
            model.zero_grad()
            task.losses(task.forward(model.base_model.model, batch), batch).mean().backward()
            optimizer.step()
            step += 1
    return {name: p.detach() for name, p in trained.items()}


@pytest.mark.parametrize("method", ["ether", "ether_plus", "oft", "naive"])
def test_it_is_one_training_after_another(method: str, task: Task) -> None:
    """Tolerance: a part in a thousand of the steps taken; Adam divides gradients near zero by themselves."""
    training = in_training(method, task, RUNS)
    for _ in range(STEPS):
        training.train_step()
    flat = training.flat()
    for index, run in enumerate(RUNS):
        state = training.packed.state_dict(flat, index)
        for name, expected in by_plain_loops(method, task, run).items():
            torch.testing.assert_close(state[name], expected, rtol=1e-3, atol=2e-4, msg=name)
    training.close()


def test_what_is_held_keeps_its_bits(task: Task) -> None:
    """With weight decay too: magnitudes are 1 until their time, and then nothing else moves."""
    training = in_training("ether_plus", task, RUNS)

    def parts() -> tuple[torch.Tensor, torch.Tensor]:
        vectors = training.flat().split([slot.size for slot in training.packed.slots], 1)
        slots = list(zip(training.packed.slots, vectors, strict=True))
        magnitudes = torch.cat([v for slot, v in slots if slot.magnitude], 1)
        return magnitudes, torch.cat([v for slot, v in slots if not slot.magnitude], 1)

    for _ in range(STEPS - REFIT):
        training.train_step()
    magnitudes, adapters = parts()
    assert (magnitudes == 1).all()
    for _ in range(REFIT):
        training.train_step()
    assert torch.equal(parts()[1], adapters) and (parts()[0] != 1).float().mean() > 0.9
    training.close()


@pytest.mark.parametrize("after", [STEPS - REFIT - 1, STEPS - REFIT, STEPS - REFIT + 1])
def test_it_is_resumed_bit_for_bit(after: int, task: Task) -> None:
    whole, first = in_training("oft", task, RUNS), in_training("oft", task, RUNS)
    for _ in range(STEPS):
        whole.train_step()
    for _ in range(after):
        first.train_step()
    second = in_training("oft", task, RUNS)
    second.restore(first.state())
    for _ in range(STEPS - after):
        second.train_step()
    assert torch.equal(second.flat(), whole.flat())
    for training in (whole, first, second):
        training.close()


def test_alone_is_as_together(task: Task) -> None:
    together, alone = in_training("ether", task, RUNS), in_training("ether", task, RUNS[1:2])
    for _ in range(STEPS):
        losses, loss = together.train_step(), alone.train_step()
        torch.testing.assert_close(losses[1:2], loss, rtol=1e-4, atol=1e-5)
    together.close(), alone.close()


@torch.no_grad()
@pytest.mark.parametrize("method", ["ether", "ether_plus", "oft", "naive"])
def test_magnitudes_scale_the_rows_of_the_transformed_weight(method: str) -> None:
    """W' = diag(m) N W M, in float64, and not the bias; merging too."""
    torch.manual_seed(0)
    base = torch.nn.Sequential(torch.nn.Linear(16, 8)).double()
    model = get_peft_model(base, methods.config(method, {"magnitudes": True, "blocks": 4}, ["0"]))
    layer = model.base_model.model[0]
    assert isinstance(layer, MultiplicativeLayer)
    for parameter in layer.parameters():
        parameter.data = parameter.double()
    for value in layer.parameters_of("default").values():
        value += 0.3 * torch.randn_like(value)
    m = layer.parameters_of("default")[layer.magnitude]
    blocks = {side: torch.block_diag(*layer.dense_blocks(side)) for side in layer.sides()}
    weight = blocks.get("out", torch.eye(8, dtype=torch.float64)) @ layer.base_weight() @ blocks["in"]
    x = torch.randn(5, 16, dtype=torch.float64)
    expected = x @ (m[:, None] * weight).T + layer.base_layer.bias
    torch.testing.assert_close(model(x), expected)
    layer.merge()
    torch.testing.assert_close(model(x), expected)


def test_a_method_without_magnitudes_is_refused(task: Task) -> None:
    sweep = load("lr_grid", [*SETTINGS, "method=lora"])
    with pytest.raises(UsageError, match="lora trains no magnitudes; method.METHOD.magnitudes=true adds"):
        peft_config(plan_runs(sweep)[0], task, task.model())
    with pytest.raises(UsageError, match="task.refit_steps=7 is more than task.steps=6"):
        load("lr_grid", [*SETTINGS, "task.refit_steps=7"])
