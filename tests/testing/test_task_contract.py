"""The contract of tasks catches what it says it catches: a task broken on purpose, one property at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from study.settings import TaskSettings
from study.tasks import SPLITS, Batch, Task
from study.testing import task_contract as contract


class Points(Task):
    """Is the sum of four numbers positive? Keeps the contract."""

    metric, chance = "accuracy", 0.5
    head_modules = ("1",)

    def __init__(self) -> None:
        super().__init__(
            TaskSettings(
                name="points", model="none", data="random", target_modules=["0"], steps=4, batch_size=8,
                eval_batch_size=16,
            )
        )  # fmt: skip
        generator = torch.Generator().manual_seed(0)
        self.points = {split: torch.randn(40, 4, generator=generator) for split in SPLITS}

    def model(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)).requires_grad_(False)

    def size(self, split: str) -> int:
        return len(self.points[split])

    def examples(self, split: str, indices: Tensor) -> Batch:
        points = self.points[split][indices]
        return {"points": points, "labels": (points.sum(-1) > 0).long()}

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch["points"])

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs, batch["labels"], reduction="none")

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        return outputs.argmax(-1) + 0 * outputs.sum(-1)  # nan where an output is not finite

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        if predictions.isnan().any():
            return {"accuracy": float("nan")}
        return {"accuracy": (predictions == references["labels"]).double().mean().item()}


def test_a_good_task_keeps_it() -> None:
    results = contract.run(Points())
    assert [result.check for result in results] == list(contract.CHECKS)
    assert all(result.ok and result.message == "" and result.what.endswith(".") for result in results)


COUNTER = itertools.count()
DRAWN = torch.Generator().manual_seed(9)


def loss_with_a_generator_of_its_own(self: Any, outputs: torch.Tensor, batch: Any) -> torch.Tensor:
    noise = torch.from_numpy(np.random.default_rng(0).random(len(outputs)))
    return F.cross_entropy(outputs, batch["labels"], reduction="none") + noise


def forward_centred_in_training(self: Any, model: nn.Module, batch: Any) -> torch.Tensor:
    outputs = model(batch["points"])
    return outputs - outputs.mean(0) if model.training else outputs


class Counting(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 8), nn.Linear(8, 2))
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += self.training
        return super().forward(x)


SAME = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))

BROKEN: list[tuple[str, str, Callable[..., Any], str]] = [
    ("splits", "size", lambda self, split: 40 if split == "train" else 0, "no examples in valid, test"),
    ("splits", "examples",
     lambda self, split, indices: {"points": self.points["train"][indices]}, "40 examples are in both"),
    ("rows", "rows", lambda self, split, seed: torch.arange(0), "a seed has no rows of train"),
    ("rows", "rows", lambda self, split, seed: torch.arange(41), "a seed's rows of train are not in it"),
    ("rows", "rows", lambda self, split, seed: torch.randint(40, (9,), generator=DRAWN),
     "the same seed has other rows of train"),
    ("rows", "rows", lambda self, split, seed: torch.arange(9 + seed), "seeds have [9, 10, 11, 12] rows of"),
    ("classes", "training_classes", lambda self: torch.zeros(39), "39 classes of 40 training examples"),
    ("classes", "training_classes", lambda self: (self.points["train"].sum(-1) < 0).long(),
     "40 examples have labels that are not their classes"),
    ("batches", "batches", lambda self, split: [self.examples(split, torch.arange(16))],
     "the batches of valid have 16 rows of 40"),
    ("batches", "batches", lambda self, split: [self.examples(split, torch.arange(40))],
     "a batch has 40 rows: at most eval_batch_size, 16"),
    ("batches", "batches", lambda self, split: [{"points": torch.ones(3, 4), "labels": torch.ones(1)}],
     "a batch's tensors have [1, 3] rows"),
    ("order", "batch",
     lambda self, seed, step: self.examples("train", torch.randint(40, (8,), generator=DRAWN)),
     "the same seed and step give other examples"),
    ("order", "batch", lambda self, seed, step: self.examples("train", torch.arange(8) + seed),
     "two steps have the same examples"),
    ("order", "batch", lambda self, seed, step: self.examples("train", torch.arange(8) + step),
     "two seeds have the same examples"),
    ("order", "batch", lambda self, seed, step: self.examples("train", torch.arange(6) + step + 5 * seed),
     "a batch has 6 rows: batch_size is 8"),
    ("epochs", "batch",
     lambda self, seed, step: self.examples("train", (torch.arange(8) + 7 * seed + step) % 40),
     "an epoch misses 28 examples"),
    ("epochs", "batch",
     lambda self, seed, step: self.examples("valid", (torch.arange(8) + 7 * seed + 8 * step) % 40),
     "40 examples of an epoch are not in train"),
    ("outputs", "losses", lambda self, outputs, batch: F.cross_entropy(outputs, batch["labels"]),
     "losses of 6 rows have shape ()"),
    ("outputs", "losses", lambda self, outputs, batch: outputs[:, 0] / 0,
     "the base model's losses are not finite"),
    ("outputs", "predictions", lambda self, outputs, batch: outputs.argmax(-1),
     "predictions are torch.int64"),
    ("outputs", "predictions", lambda self, outputs, batch: outputs.argmax(-1).float(),
     "outputs that are nan give accuracy"),
    ("outputs", "metrics", lambda self, predictions, references: {"score": 1.0},
     "no accuracy among metrics ['score']"),
    ("outputs", "losses",
     lambda self, outputs, batch: (outputs - outputs.mean(0))[:, 0],
     "a row's loss depends on the rows beside it"),
    ("outputs", "predictions", lambda self, outputs, batch: (outputs - outputs.mean(0)).sum(-1),
     "a row's prediction depends on the rows beside it"),
    ("training", "losses", loss_with_a_generator_of_its_own,
     "in training two runs together get other losses"),
    ("training", "forward", forward_centred_in_training, "in training a row's loss depends on the rows"),
    ("training", "model", lambda self: Counting().requires_grad_(False), "changes ['calls']"),
    ("model", "model", lambda self: nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)), "4 parameters train"),
    ("model", "model", lambda self: nn.Sequential(nn.Linear(4, 2)).requires_grad_(False),
     "head_modules ['1'] are not in the model"),
    ("model", "model",
     lambda self: SAME.requires_grad_(False),
     "model() gives the same object twice"),
    ("model", "model",
     lambda self: nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2).requires_grad_(False)).requires_grad_(False)
     .apply(lambda layer: hasattr(layer, "bias") and layer.bias.fill_(next(COUNTER))),
     "two base models differ in 2 tensors"),
]  # fmt: skip


@pytest.mark.parametrize(("check", "name", "function", "message"), BROKEN)
def test_what_is_broken_is_said(
    check: str, name: str, function: Callable[..., Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Points, name, function)
    results = {result.check: result for result in contract.run(Points())}
    assert not results[check].ok and message in results[check].message
    assert ": " in results[check].message and "\n" not in results[check].message


def test_nothing_else_is_checked_where_splits_are_broken_and_errors_are_results(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Points, "model", lambda self: 1 / 0)
    by_name = {result.check: result for result in contract.run(Points())}
    assert not by_name["model"].ok and by_name["model"].message == "ZeroDivisionError: division by zero"
    monkeypatch.setattr(Points, "size", lambda self, split: 0)
    first, *others = contract.run(Points())
    assert not first.ok and {result.message for result in others} == {"not checked: the splits are broken"}
