"""Several adapters on one model; what `peft` offers for LoRA alone is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import (
    LoraConfig,
    PeftModel,
    get_peft_model,
)
from support.peft_models import (
    ATTENTION,
    adapted,
    bert,
    config_of,
    every_method,
    logits,
    names_of,
    sequential,
    shake,
)

from study.methods.multiplicative import MultiplicativeLayer


@every_method
def test_two_adapters(method: str, tmp_path: Path) -> None:
    plain = logits(bert())
    model = adapted(bert(), config_of(method), adapter_name="one")
    one = logits(model)
    # A different set of layers and number of blocks.
    model.add_adapter("two", config_of(method, ["query", "output.dense"], blocks=2))
    assert model.active_adapters == ["one"] and torch.equal(logits(model), one)
    model.set_adapter("two")
    shake(model, seed=3)
    two = logits(model)
    assert not torch.allclose(one, two) and not torch.allclose(two, plain)
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained and all(name.endswith(".two") for name in trained)
    with model.disable_adapter():
        assert torch.equal(logits(model), plain)
    assert torch.equal(logits(model), two)

    model.base_model.set_adapter(["one", "two"])
    both = logits(model)
    assert not torch.allclose(both, one) and not torch.allclose(both, two)
    model.merge_adapter()
    torch.testing.assert_close(logits(model), both, rtol=1e-5, atol=1e-5)
    with pytest.warns(UserWarning, match="Unmerging the model first"):
        model.set_adapter("one")
    assert torch.equal(logits(model), one)

    model.set_adapter("two")
    model.merge_adapter(["two"])
    torch.testing.assert_close(logits(model), two, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="Cannot delete adapter.*while they are merged"):
        model.delete_adapter("two")
    model.unmerge_adapter()
    model.set_adapter("one")

    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(bert(), tmp_path / "one", "one")
    loaded.load_adapter(tmp_path / "two", "two")
    assert torch.equal(logits(loaded), one)
    loaded.set_adapter("two")
    assert torch.equal(logits(loaded), two)

    model.delete_adapter("two")
    assert torch.equal(logits(model), one) and list(model.peft_config) == ["one"]
    assert not any(".two" in name for name in model.state_dict())
    with pytest.raises(ValueError, match="two"):
        model.set_adapter("two")
    with pytest.raises(ValueError, match="Cannot combine adapters with different peft types"):
        model.add_adapter("lora", LoraConfig(target_modules=ATTENTION))


@every_method
def test_all_linear_for_a_second_adapter(method: str) -> None:
    model = adapted(bert(), config_of(method, "all-linear", task_type="SEQ_CLS"))
    layers = names_of(model)
    model.add_adapter("two", config_of(method, "all-linear", task_type="SEQ_CLS"))
    assert names_of(model) == layers
    adapted_layers = (m for m in model.modules() if isinstance(m, MultiplicativeLayer))
    assert all(set(m.configs) == {"default", "two"} for m in adapted_layers)


@every_method
def test_what_peft_offers_for_lora_alone_is_refused_by_name(method: str) -> None:
    config = config_of(method, ["0"])
    model = adapted(sequential(), config)
    x = torch.randn(2, 24)
    with pytest.raises(ValueError, match="Model does not support mixed batches"):
        model(x, adapter_names=["default", "default"])
    assert torch.equal(model(x, adapter_names=None), model(x))
    with pytest.raises(TypeError, match="Model does not support add_weighted_adapter"):
        model.add_weighted_adapter(["default"], [1.0], "sum")
    with pytest.raises(ValueError, match="not compatible with the `PeftMixedModel`"):
        get_peft_model(sequential(), config, mixed=True)
