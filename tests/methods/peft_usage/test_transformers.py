"""transformers' own classes for adapters."""

from __future__ import annotations

from pathlib import Path

import torch
from peft import (
    AutoPeftModelForSequenceClassification,
)
from support.peft_models import (
    adapted,
    bert,
    config_of,
    every_method,
    logits,
    shake,
)
from transformers import (
    BertForSequenceClassification,
)


@every_method
def test_auto_classes_and_load_adapter(method: str, tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path / "base")
    base = BertForSequenceClassification.from_pretrained(tmp_path / "base")
    model = adapted(base, config_of(method, task_type="SEQ_CLS"))
    expected = logits(model)
    model.save_pretrained(tmp_path / "adapter")
    auto = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "adapter")
    assert torch.equal(logits(auto), expected)
    both = BertForSequenceClassification.from_pretrained(tmp_path / "adapter")  # base and adapter at once
    assert torch.equal(logits(both), expected)
    plain = bert()
    plain.load_adapter(str(tmp_path / "adapter"))
    assert torch.equal(logits(plain), expected)


@every_method
def test_adapters_without_a_peft_model(method: str, tmp_path: Path) -> None:
    model, untouched = bert(), logits(bert())
    model.add_adapter(config_of(method), "one")
    shake(model)
    one = logits(model)
    model.add_adapter(config_of(method, ["key"]), "two")
    shake(model)
    two = logits(model)
    assert model.active_adapters() == ["two"] and not torch.allclose(one, two)
    model.set_adapter("one")
    assert torch.equal(logits(model), one)
    model.disable_adapters()
    assert torch.equal(logits(model), untouched)
    model.enable_adapters()
    model.delete_adapter("two")
    assert torch.equal(logits(model), one)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").exists()
    again = bert()
    again.load_adapter(str(tmp_path))
    assert torch.equal(logits(again), one)
