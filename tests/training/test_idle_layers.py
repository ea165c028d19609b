"""A layer whose weight the model reads itself is found before anything trains."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from support.small_models import FamilyTask
from torch import Tensor, nn

from study import methods
from study.errors import UsageError
from study.tasks import Batch
from study.training.probe import profile


class Attention(nn.Module):
    """torch's own attention calls no `out_proj`; the second layer is called, the third by its weight."""

    def __init__(self, d: int = 12) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.MultiheadAttention(d, 2, batch_first=True) for _ in range(2))
        self.called, self.read = nn.Linear(d, d), nn.Linear(d, d)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = x + layer(x, x, x)[0]
        return F.linear(self.called(x), self.read.weight)


class AttentionTask(FamilyTask):
    def model(self) -> nn.Module:
        torch.manual_seed(0)
        return Attention().requires_grad_(False)

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(batch["inputs"].flatten(1)[:, :48].unflatten(1, (4, 12))).mean(1)[:, :3]


@pytest.mark.parametrize("targets,idle", [
    (["out_proj", "called"], r"layers\.0\.out_proj"), (["called", "read"], "read"),
])  # fmt: skip
def test_a_layer_that_is_not_called_is_named(targets: list[str], idle: str) -> None:
    task = AttentionTask("vit")
    config = methods.config("lora", {"r": 2}, targets)
    with pytest.raises(UsageError, match=rf"task.target_modules: the model never calls {idle}, "):
        profile(task, task.model(), config, 1, 1)


def test_layers_that_are_called_are_not() -> None:
    task = AttentionTask("vit")
    config = methods.config("ether", {"blocks": 2}, ["called"])
    assert profile(task, task.model(), config, 1, 1).pack_size == 1
