"""Half precision, gradient checkpointing and compilation."""

from __future__ import annotations

import copy

import pytest
import torch
from support.peft_models import (
    LABELS,
    TOKENS,
    adapted,
    bert,
    config_of,
    every_method,
    logits,
    sequential,
)
from torch import Tensor


@every_method
@pytest.mark.parametrize("autocast", [True, False])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_base(method: str, autocast: bool, dtype: torch.dtype) -> None:
    model = adapted(bert(dtype, layers=1), config_of(method), autocast_adapter_dtype=autocast)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.dtype == (torch.float32 if autocast else dtype) for p in trained)
    output = model(input_ids=TOKENS, labels=LABELS)
    assert output.logits.dtype == dtype
    output.loss.backward()
    assert all(p.grad.isfinite().all() and p.grad.dtype == p.dtype for p in trained)
    reference = logits(copy.deepcopy(model).float())
    torch.testing.assert_close(output.logits.float(), reference, rtol=0.05, atol=0.02)
    merged = model.merge_and_unload(safe_merge=True)
    assert {p.dtype for p in merged.parameters()} == {dtype}
    torch.testing.assert_close(logits(merged).float(), reference, rtol=0.05, atol=0.02)


@every_method
def test_autocast(method: str) -> None:
    model = adapted(bert(layers=1), config_of(method))
    reference = logits(model)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(input_ids=TOKENS, labels=LABELS)
    output.loss.backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in trained)
    torch.testing.assert_close(output.logits.float(), reference, rtol=0.05, atol=0.02)


@every_method
def test_gradient_checkpointing_gives_the_same_gradients(method: str) -> None:
    def gradients(checkpoint: bool) -> dict[str, Tensor]:
        model = adapted(bert(), config_of(method)).train()
        if checkpoint:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
            assert model.is_gradient_checkpointing
        model(input_ids=TOKENS, labels=LABELS).loss.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.requires_grad}

    plain, checkpointed = gradients(False), gradients(True)
    assert plain.keys() == checkpointed.keys()
    assert all(torch.equal(plain[name], checkpointed[name]) and plain[name].any() for name in plain)


@every_method
def test_compile_without_a_break(method: str) -> None:
    model = adapted(sequential(), config_of(method, ["0", "2"]))
    compiled = torch.compile(model, backend="aot_eager", fullgraph=True)
    x = torch.randn(5, 24)
    expected, got = model(x), compiled(x)
    torch.testing.assert_close(got, expected)
    trained = [p for p in model.parameters() if p.requires_grad]
    expected_gradients = torch.autograd.grad(expected.square().sum(), trained)
    torch.testing.assert_close(torch.autograd.grad(got.square().sum(), trained), expected_gradients)
    model.merge_adapter()
    torch.testing.assert_close(compiled(x), expected, rtol=1e-5, atol=1e-5)
