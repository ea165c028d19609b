"""Nothing is tied to one model: encoders and decoders of text, `Linear` and `Conv1D`, packed and alone."""

from __future__ import annotations

import pytest
import torch
from support.base_scores import untouched
from support.texts.random_words import MODELS, NO_DROPOUT, Words
from torch import Tensor, nn

from study import methods
from study.errors import UsageError
from study.planning.profile import RunMapping
from study.training.hyperparameters import Hyperparameters
from study.training.packing import pack
from study.training.passes import base_model, forward_backward
from study.training.probe import find_mapping, profile
from study.training.train import train


@pytest.mark.parametrize("method", ["ether", "ether_plus", "lora"])
@pytest.mark.parametrize("name", MODELS)
def test_a_method_on_a_model(name: str, method: str) -> None:
    """All of them pack, as they train alone, and the model is given back as it was."""
    task = Words(name, **NO_DROPOUT)
    model = task.model()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    config = methods.config(method, {}, task.settings.target_modules)
    # DeBERTa feeds its query_proj relative positions without the batch axis.
    assert find_mapping(task, model, config) == (mapping_of(name), "")
    costs = profile(task, model, config, 2, None)
    assert costs.mapping == mapping_of(name) and not costs.unpackable
    assert costs.footprint.parameters > 0 and costs.activation_mb > 0
    runs = [Hyperparameters(1e-2, seed) for seed in range(2)]
    packed = train(task, model, config, runs, untouched(), mapping=costs.mapping)
    for trained in packed:
        assert trained.outcome.status in ("ok", "diverged") and trained.outcome.weight_distance > 0
        assert len(trained.layers) >= 2
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    alone = [train(task, model, config, [run], untouched())[0] for run in runs]
    for together, by_itself in zip(packed, alone, strict=True):
        for figure in ("loss_first", "loss_last", "weight_distance", "he_change"):
            expected = getattr(by_itself.outcome, figure)
            assert getattr(together.outcome, figure) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def mapping_of(name: str) -> RunMapping:
    return RunMapping.MODEL if name == "deberta-v2" else RunMapping.LAYERS


def one_step(task: Words, model: nn.Module, runs: int, mapping: RunMapping) -> Tensor:
    """Gradients of a pack, (runs, num_params), after moving off the initialisation."""
    config = methods.config("lora", {}, task.settings.target_modules)
    packed, parameters = pack(model, config, list(range(runs)), mapping)
    for index, vector in enumerate(parameters.adapters):
        vector.data += 0.05 * torch.randn(vector.shape, generator=torch.Generator().manual_seed(index))
    model.train()
    batches = [task.batch(seed, 0) for seed in range(runs)]
    gradient = forward_backward(task, packed, parameters, batches)[1]
    packed.close()
    return gradient


@pytest.mark.parametrize("runs", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_accumulation_and_checkpointing_change_nothing_but_memory(name: str, runs: int) -> None:
    task = Words(name, **NO_DROPOUT)
    mapping = mapping_of(name)
    plain = one_step(task, base_model(task, torch.device("cpu")), runs, mapping)
    task.settings.accumulate = 3  # of a batch of 4: parts of 2, 1 and 1
    torch.testing.assert_close(one_step(task, base_model(task, torch.device("cpu")), runs, mapping), plain)
    task.settings.gradient_checkpointing = True
    if mapping is RunMapping.MODEL and runs > 1:
        config = methods.config("lora", {}, task.settings.target_modules)
        way, reason = find_mapping(task, task.model(), config)
        assert way is None and "task.gradient_checkpointing" in reason
        return
    model = base_model(task, torch.device("cpu"))
    assert model.is_activation_checkpointing
    torch.testing.assert_close(one_step(task, model, runs, mapping), plain)


def test_bfloat16_leaves_the_rotary_frequencies_alone() -> None:
    task = Words("llama")
    plain = dict(base_model(task, torch.device("cpu")).named_buffers())
    task.settings.precision = "bfloat16"
    model = base_model(task, torch.device("cpu"))
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert plain and all(torch.equal(value, plain[name]) for name, value in model.named_buffers())


def test_checkpointing_that_a_model_does_not_know_is_refused() -> None:
    task = Words("bert")
    task.settings.gradient_checkpointing = True
    task.model = lambda: nn.Linear(2, 2)  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="task.gradient_checkpointing=true: "):
        base_model(task, torch.device("cpu"))
