"""Copies, pickles, counts and merging."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from peft import (
    get_peft_model,
)
from support.peft_models import (
    adapted,
    config_of,
    every_method,
    sequential,
    shake,
)
from torch import nn


@every_method
def test_copies_and_pickles(method: str) -> None:
    model = adapted(sequential(), config_of(method, ["0", "2"]))
    x = torch.randn(5, 24)
    expected = model(x)
    copied = copy.deepcopy(model)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    pickled = torch.load(buffer, weights_only=False)
    shake(model, seed=5)
    assert not torch.equal(model(x), expected)
    assert torch.equal(copied(x), expected) and torch.equal(pickled(x), expected)
    assert type(pickled.base_model) is type(model.base_model)


@pytest.mark.parametrize("method,count", [
    ("ether", 24 + 48), ("ether_plus", 2 * (24 + 48 + 48 + 8)),
    ("oft", (24**2 + 48**2) // 4), ("naive", (24**2 + 48**2) // 4),
])  # fmt: skip
def test_counts(method: str, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    base = sum(p.numel() for p in sequential().parameters())
    model = get_peft_model(sequential(), config_of(method, ["0", "2"]))
    assert model.get_nb_trainable_parameters() == (count, base + count)
    model.print_trainable_parameters()
    assert f"trainable params: {count:,d} || all params: {base + count:,d}" in capsys.readouterr().out


@every_method
def test_merging_twice_unmerging_twice_and_moving(method: str) -> None:
    model = adapted(sequential(), config_of(method, ["0", "2"]))
    layer = model.base_model.model[0]
    x = torch.randn(5, 24)
    expected, original = model(x), layer.weight.detach().clone()
    model.train().eval()
    model.merge_adapter()
    once = layer.weight.detach().clone()
    with pytest.warns(UserWarning, match="already merged, nothing to do"):
        model.merge_adapter()
    assert torch.equal(layer.weight, once) and not torch.equal(once, original)
    torch.testing.assert_close(model(x), expected, rtol=1e-5, atol=1e-5)
    model.unmerge_adapter()
    assert torch.equal(layer.weight, original) and torch.equal(model(x), expected)
    with pytest.warns(UserWarning, match="Already unmerged"):
        model.unmerge_adapter()

    model.merge_adapter()
    model.double()
    model.unmerge_adapter()
    assert layer.weight.dtype == torch.float64 and torch.equal(layer.weight, original.double())
    torch.testing.assert_close(model(x.double()), expected.double(), rtol=1e-5, atol=1e-5)

    model.float().merge_adapter()
    copied = copy.deepcopy(model)
    copied.unmerge_adapter()
    assert torch.equal(copied(x), expected) and layer.merged
    model.unmerge_adapter()
    assert type(model.unload()[0]) is nn.Linear


@every_method
def test_safe_merge_refuses_what_is_not_finite(method: str) -> None:
    model = adapted(sequential(), config_of(method, ["0"]))
    original = model.base_model.model[0].weight.detach().clone()
    with torch.no_grad():
        next(p for p in model.parameters() if p.requires_grad).fill_(float("nan"))
    for merge in (model.merge_adapter, model.merge_and_unload):
        with pytest.raises(ValueError, match=r"merged weight of adapters \['default'\] is not finite"):
            merge(safe_merge=True)
    assert torch.equal(model.base_model.model[0].weight, original)
    model.merge_and_unload()  # as asked
