"""A change of the base model that runs share is noticed, whatever made it; what moves in it is put back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from study.training.frozen_base import BaseBuffers, BaseChanged, BaseSeal, evaluation_mode, train_mode


def network() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 2))
    model.register_buffer("cache", torch.ones(3), persistent=False)
    return model.requires_grad_(False)


def swap_rows(model: nn.Module) -> None:
    weight = model[0].weight.data
    weight[[0, 1]] = weight[[1, 0]].clone()


def replace(model: nn.Module) -> None:
    model[3] = nn.Linear(8, 2)


CHANGES: list[tuple[str, Callable[[nn.Module], object]]] = [
    ("0.weight", lambda m: m[0].weight.data.mul_(1.0001)),
    ("0.weight", swap_rows),
    ("0.bias", lambda m: m[0].bias.data[3:].add_(1e-7)),
    ("1.running_mean", lambda m: m[1].running_mean.add_(1)),
    ("1.num_batches_tracked", lambda m: m[1].num_batches_tracked.add_(1)),
    ("3.bias", replace),
    ("0.weight", lambda m: m.half()),
]


@pytest.mark.parametrize("name,change", CHANGES)
def test_a_change_is_noticed_and_named(name: str, change: Callable[[nn.Module], object]) -> None:
    model = network()
    seal = BaseSeal(model)
    seal.check()
    change(model)
    with pytest.raises(BaseChanged, match=f"such as .*{name}|tensors"):
        seal.check()
    assert name in seal.changed()


def test_what_is_computed_again_anyway_is_not_the_model() -> None:
    model = network()
    seal = BaseSeal(model)
    model.cache.add_(1)
    seal.check()


def test_large_tensors_are_taken_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("study.training.frozen_base.CHUNK", 5)
    model = network()
    seal = BaseSeal(model)
    swap_rows(model)
    assert seal.changed() == ["0.weight"]


def test_in_training_mode_statistics_stay_and_dropout_drops() -> None:
    model, x = network(), torch.randn(64, 4)
    seal = BaseSeal(model)
    train_mode(model)
    assert (model(x) != model(x)).any()
    seal.check()
    modes = [module.training for module in model.modules()]
    with evaluation_mode(model):
        assert torch.equal(model(x), model(x))
    assert [module.training for module in model.modules()] == modes


def test_buffers_that_a_forward_moves_are_put_back() -> None:
    model = network().train()  # as a model does whose layers are not known here
    seal, buffers = BaseSeal(model), BaseBuffers(model)
    for _ in range(2):
        model(torch.randn(16, 4))
        assert seal.changed()
        buffers.put_back()
        seal.check()
