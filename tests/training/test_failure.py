"""What was not foreseen reaches the user in one line that names method, task and layer."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from support.small_models import FamilyTask
from torch import Tensor, nn

from study import methods
from study.config import load
from study.errors import UsageError
from study.planning.runs import plan_runs
from study.training.failure import failure_line, layer_of
from study.training.packing import pack

RUN = plan_runs(load("lr_grid", ["method=lora", "seeds=1", "lr=1e-3"]))[0]


class Fails(nn.Module):
    def forward(self, *_: object, **__: object) -> Tensor:
        raise NotImplementedError("not here\nnor there")


@pytest.mark.parametrize("mapped", [1, 2])
def test_the_layer_is_the_innermost_module_at_work(mapped: int) -> None:
    task = FamilyTask("bert")
    model = task.model()
    packed, parameters = pack(model, methods.config("lora", {"r": 2}, ["query"]), list(range(mapped)))
    layer = model.encoder.layer[1].attention.self.query
    layer.lora_A["default"].forward = Fails().forward
    batch = task.collate([task.batch(seed, 0) for seed in range(mapped)])
    with pytest.raises(NotImplementedError) as error:
        packed(parameters.copy(), task.forward, batch)
    packed.close()
    name = "encoder.layer.1.attention.self.query"
    assert layer_of(error.value, model) == name
    line = failure_line(error.value, RUN, model)
    assert line == f"method lora on task vtab, layer {name}: NotImplementedError: not here"


def test_an_error_outside_of_the_model_names_no_layer_and_usage_errors_stay_as_they_are() -> None:
    run = dataclasses.replace(RUN, method="hra")
    assert failure_line(ZeroDivisionError("x"), run, torch.nn.Linear(2, 2)) == (
        "method hra on task vtab: ZeroDivisionError: x"
    )
    assert failure_line(UsageError("one line"), run, None) == "one line"
