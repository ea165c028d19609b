"""A run's result is its own: the same alone, in any pack, after any other run, and after an interruption."""

from __future__ import annotations

import pytest
import torch
from support.small_models import FAMILIES, FamilyTask

from study import methods
from study.training.probe import find_mapping
from study.training.train import Hyperparameters, train

BASE = {"valid": 0.0, "test": 0.0}
RUNS = [Hyperparameters(lr, seed) for seed in range(4) for lr in (3e-3, 3e-2)][:7]


def losses(
    task: FamilyTask, model: torch.nn.Module, config: object, mapping: object, size: int
) -> list[list[float]]:
    """Each run's training losses and last figures, in packs of `size`, one after the other."""
    table = []
    for start in range(0, len(RUNS), size):
        runs = RUNS[start : start + size]
        for trained in train(task, model, config, runs, BASE, mapping=mapping):
            history = [[p.train_loss, p.valid_loss, p.weight_distance] for p in trained.history[1:]]
            table.append([figure for point in history for figure in point])
    return table


@pytest.mark.parametrize("method", ["ether", "lora"])
@pytest.mark.parametrize("family", FAMILIES)
def test_pack_sizes(family: str, method: str) -> None:
    task = FamilyTask(family)
    model = task.model()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    options = {"lora_dropout": 0.1, "r": 2} if method == "lora" else {"blocks": 4}
    config = methods.config(method, options, task.settings.target_modules)
    mapping, reason = find_mapping(task, model, config)
    assert mapping is not None, reason
    alone = losses(task, model, config, mapping, 1)
    assert len({tuple(row) for row in alone}) == len(RUNS)
    for size in (3, 7):
        torch.testing.assert_close(losses(task, model, config, mapping, size), alone, rtol=1e-5, atol=1e-6)
    assert losses(task, model, config, mapping, 1) == alone
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
