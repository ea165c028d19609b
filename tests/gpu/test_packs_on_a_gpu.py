"""What the suite shows on a CPU holds on a GPU too. Skipped where there is none."""

from __future__ import annotations

import pytest
import torch
from support.base_scores import untouched

from study import methods, tasks
from study.config.compose import load
from study.planning.profile import RunMapping
from study.tasks import Task
from study.training.hyperparameters import Hyperparameters
from study.training.passes import base_model
from study.training.probe import profile
from study.training.train import Training, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

METHODS = ["ether", "ether_plus", "oft", "naive", "lora", "full", "hra", "vera", "loha", "peft:oft"]
RUNS = [Hyperparameters(1e-3, 0), Hyperparameters(1e-2, 1), Hyperparameters(3e-3, 0)]
STEPS = 6
GPU, CPU = torch.device("cuda"), torch.device("cpu")


def digits(*overrides: str) -> Task:
    return tasks.load(load("lr_grid", [f"task.steps={STEPS}", "task.warmup_steps=2", *overrides]).task)


def losses(
    task: Task,
    method: str,
    runs: list[Hyperparameters],
    device: torch.device,
    mapping: RunMapping = RunMapping.LAYERS,
    cuda_graphs: bool = False,
) -> torch.Tensor:
    """(steps, runs)"""
    config = methods.config(method, {}, task.settings.target_modules)
    training = Training(task, base_model(task, device), config, runs, mapping, cuda_graphs)
    by_step = [training.train_step().double().cpu() for _ in range(STEPS)]
    training.close()
    return torch.stack(by_step)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_is_the_same_alone_in_a_pack_and_on_the_cpu(method: str) -> None:
    """Tolerance: 1e-4 relative in the loss over six steps (float32 sums in another order)."""
    task = digits()
    config = methods.config(method, {}, task.settings.target_modules)
    costs = profile(task, base_model(task, GPU), config, runs=3, pack_size=3)
    assert not costs.unpackable
    packed = losses(task, method, RUNS, GPU, costs.mapping)
    torch.testing.assert_close(packed, losses(task, method, RUNS, CPU, costs.mapping), rtol=1e-4, atol=1e-5)
    for index, run in enumerate(RUNS):
        alone = losses(task, method, [run], GPU, costs.mapping)[:, 0]
        torch.testing.assert_close(packed[:, index], alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["ether", "ether_plus", "oft", "lora"])
def test_in_bfloat16_a_run_is_the_same_in_a_pack_to_its_digits(method: str) -> None:
    """Tolerance: 2 % of the loss over six steps; bfloat16 has 8 bits."""
    task = digits("task.precision=bfloat16")
    packed = losses(task, method, RUNS, GPU)
    for index, run in enumerate(RUNS):
        alone = losses(task, method, [run], GPU)[:, 0]
        torch.testing.assert_close(packed[:, index], alone, rtol=2e-2, atol=1e-2)


@pytest.mark.parametrize("method", ["ether_plus", "oft", "lora"])
def test_scores_and_geometry_are_the_cpus(method: str) -> None:
    """Energy, distances and losses of whole runs; the trained numbers differ in their last digits."""
    task = digits()
    config = methods.config(method, {}, task.settings.target_modules)
    on = {
        device: train(task, base_model(task, device), config, RUNS, untouched(0.1)) for device in (GPU, CPU)
    }
    for there, here in zip(on[GPU], on[CPU], strict=True):
        assert there.outcome.status == here.outcome.status == "ok"
        assert there.outcome.loss_last == pytest.approx(here.outcome.loss_last, rel=1e-3)
        for row, expected in zip(there.layers, here.layers, strict=True):
            assert (row.layer, row.side) == (expected.layer, expected.side)
            assert row.weight_distance == pytest.approx(expected.weight_distance, rel=1e-3, abs=1e-6)
            assert row.he_change == pytest.approx(expected.he_change, rel=1e-3, abs=1e-6, nan_ok=True)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("method", METHODS)
def test_replayed_steps_are_those_that_are_launched_one_by_one(
    method: str, precision: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bit by bit, also after what cannot be recorded (OFT's inverse of many blocks) was tried."""
    task = digits(f"task.precision={precision}")
    recorded = losses(task, method, RUNS, GPU, cuda_graphs=True)
    assert torch.equal(recorded, losses(task, method, RUNS, GPU))
    said = capsys.readouterr().out
    assert not said or "cannot be recorded" in said
