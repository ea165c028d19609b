"""A packed model is a function: nothing that was called, measured or saved before changes what it gives."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from support.texts.random_words import NO_DROPOUT, Words
from torch import Tensor, nn

from study import methods
from study.planning.profile import RunMapping
from study.tasks import Batch
from study.training.geometry import Geometry
from study.training.packing import PackedModel, RunParameters, pack
from study.training.passes import base_model, stack_runs
from study.training.save_adapter import save_adapter

SEEDS = [0, 1, 2]
METHODS = ["ether_plus", "lora"]


def config_of(method: str, task: Words, head: list[str] | None = None) -> Any:
    return methods.config(method, {}, task.settings.target_modules, head)


def moved(parameters: RunParameters, size: float = 0.05) -> RunParameters:
    generator = torch.Generator().manual_seed(7)
    for vector in parameters.vectors:
        vector.data += size * torch.randn(vector.shape, generator=generator)
    return parameters


def batch_of(task: Words, packed: PackedModel) -> Batch:
    return stack_runs(task, [task.batch(seed, 0) for seed in SEEDS], packed.device)


@pytest.fixture(
    params=[("bert", RunMapping.LAYERS), ("deberta-v2", RunMapping.MODEL), ("llama", RunMapping.LAYERS)],
    ids=lambda p: p[0],
)
def words(request: pytest.FixtureRequest) -> Iterator[tuple[Words, nn.Module, bool]]:
    name, mapping = request.param
    task = Words(name, **NO_DROPOUT)
    yield task, task.model().eval(), mapping


def gradient(outputs: Tensor, flat: Tensor) -> Tensor:
    return torch.autograd.grad(outputs.square().sum(), flat)[0]


@pytest.mark.parametrize("method", METHODS)
def test_a_call_depends_on_its_arguments_alone(method: str, words: tuple[Words, nn.Module, bool]) -> None:
    """Outputs and gradients, whatever is called, measured or saved between forward and backward."""
    task, model, mapping = words
    packed, parameters = pack(model, config_of(method, task), SEEDS, mapping)
    batch = batch_of(task, packed)
    flat = moved(parameters).copy()
    expected = packed(flat, task.forward, batch)
    slope = gradient(expected, flat)
    assert slope.shape == (len(SEEDS), packed.num_params) and slope.abs().sum(1).gt(0).all()

    flat = parameters.copy()
    outputs = packed(flat, task.forward, batch)
    other = flat.detach() + 1
    with torch.no_grad():
        assert not torch.equal(packed(other, task.forward, batch), expected)
        Geometry(packed).measure(other)
        packed.state_dict(other, 1)
    assert torch.equal(outputs, expected) and torch.equal(gradient(outputs, flat), slope)
    packed.close()


@pytest.mark.parametrize("name", ["bert", "llama", "gpt2"])
def test_what_checkpointing_computes_again_it_computes_with_the_calls_parameters(name: str) -> None:
    """Backward runs after the call returned, after another with other parameters, and in another thread, as
    it does on GPUs."""
    slopes = []
    for checkpointing in (False, True):
        task = Words(name, **NO_DROPOUT)
        task.settings.gradient_checkpointing = checkpointing
        model = base_model(task, torch.device("cpu")).train()
        packed, parameters = pack(model, config_of("lora", task), SEEDS)
        flat = moved(parameters).copy()
        outputs = packed(flat, task.forward, batch_of(task, packed))
        packed(flat + 1, task.forward, batch_of(task, packed))
        with ThreadPoolExecutor(1) as thread:
            slopes.append(thread.submit(gradient, outputs, flat).result())
        packed.close()
    torch.testing.assert_close(slopes[0], slopes[1])


def test_outside_a_call_the_model_is_pefts_and_an_error_leaves_nothing_behind() -> None:
    task = Words("bert", **NO_DROPOUT)
    model = task.model()
    packed, parameters = pack(model, config_of("ether", task), SEEDS)
    modules = list(model.named_modules())
    seen: list[list[str]] = []

    def forward(model: nn.Module, batch: Batch) -> Tensor:
        others = [name for name, module in model.named_modules() if module not in dict(modules).values()]
        seen.append(others)
        if len(seen) > 1:
            raise RuntimeError("on purpose")
        return task.forward(model, batch)

    batch = batch_of(task, packed)
    expected = packed(parameters.copy(), forward, batch)
    assert seen[0] == list(packed.adapted_layers()) and len(seen[0]) == 4
    with pytest.raises(RuntimeError, match="on purpose"):
        packed(parameters.copy(), forward, batch)
    assert list(model.named_modules()) == modules
    assert torch.equal(packed(parameters.copy(), task.forward, batch), expected)
    packed.close()


def test_calls_within_a_call() -> None:
    task = Words("llama", **NO_DROPOUT)
    packed, parameters = pack(task.model(), config_of("lora", task), SEEDS)
    batch, flat = batch_of(task, packed), moved(parameters).copy()
    expected, other = packed(flat, task.forward, batch), packed(2 * flat, task.forward, batch)

    def forward(model: nn.Module, batch: Batch) -> Tensor:
        within = packed(2 * flat, task.forward, batch)
        return torch.cat([within, task.forward(model, batch)], 1)

    assert torch.equal(packed(flat, forward, batch), torch.cat([other, expected], 1))
    packed.close()


@pytest.mark.parametrize("method,options", [
    ("ether", {}), ("ether_plus", {"renormalise": True}), ("oft", {}), ("naive", {}), ("lora", {}),
    ("lora", {"use_dora": True}), ("lora", {"init_lora_weights": "pissa"}), ("tinylora", {}), ("vera", {}),
    ("boft", {"boft_block_size": 4}),
])  # fmt: skip
@pytest.mark.filterwarnings("ignore")
def test_a_saved_adapter_is_its_runs_own(method: str, options: dict[str, Any], tmp_path: Path) -> None:
    """`PeftModel.from_pretrained` gives the run's outputs, head and all; saving changes nothing."""
    task = Words("bert", **NO_DROPOUT)
    base = task.model().eval()
    model = copy.deepcopy(base)
    config = methods.config(method, dict(options), task.settings.target_modules, ["classifier"])
    packed, parameters = pack(model, config, SEEDS)
    batch = batch_of(task, packed)
    flat = moved(parameters, 0.02).flat
    expected = packed(flat, task.forward, batch).unflatten(0, (len(SEEDS), -1))
    for run in (2, 0, 1):
        save_adapter(packed, parameters, run, tmp_path / str(run))
    assert torch.equal(packed(flat, task.forward, batch).unflatten(0, (len(SEEDS), -1)), expected)
    packed.close()
    before, after = base.state_dict(), model.state_dict()
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    for run, seed in enumerate(SEEDS):
        files = {path.name for path in (tmp_path / str(run)).iterdir()}
        assert files == {"adapter_config.json", "adapter_model.safetensors", "README.md"}
        loaded = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path / str(run)).eval()
        outputs = task.forward(loaded.base_model.model, task.batch(seed, 0))
        torch.testing.assert_close(outputs, expected[run], rtol=1e-4, atol=1e-5)
