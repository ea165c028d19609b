"""Training with transformers' `Trainer`, saving, loading and going on."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from peft import (
    PeftConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from support.peft_models import (
    adapted,
    bert,
    config_of,
    copies,
    every_method,
    logits,
    names_of,
    sequential,
)
from transformers import (
    BertForSequenceClassification,
    Trainer,
    TrainingArguments,
)

from study.methods.multiplicative import MultiplicativeLayer


@every_method
def test_trainer_save_load_and_merge(method: str, tmp_path: Path) -> None:
    model = get_peft_model(bert(), config_of(method, task_type="SEQ_CLS"))
    assert type(model).__name__ == "PeftModelForSequenceClassification"
    before = copies(model)
    data = [{"input_ids": torch.full((6,), 3 * i + 1), "labels": i % 2} for i in range(8)]
    arguments = TrainingArguments(
        str(tmp_path / "runs"),
        max_steps=12,
        per_device_train_batch_size=8,
        learning_rate=2e-2,
        logging_steps=1,
        save_steps=6,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = Trainer(model, arguments, train_dataset=data)
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert losses[-1] < 0.8 * losses[0]
    for name, value in model.named_parameters():
        adapter = name.endswith(".default") or ".modules_to_save.default." in name
        assert value.requires_grad == adapter, name
        assert torch.equal(value, before[name]) != adapter, name

    model.eval()
    trained = logits(model)
    folder = tmp_path / "adapter"
    model.save_pretrained(folder)
    assert {f.name for f in folder.iterdir()} >= {"adapter_model.safetensors", "adapter_config.json"}
    saved = [f for f in tmp_path.rglob("adapter_model*")]
    assert len(saved) == 3 and all(f.suffix == ".safetensors" for f in saved)
    assert torch.equal(logits(PeftModel.from_pretrained(bert(), folder)), trained)
    assert torch.equal(logits(PeftModel.from_pretrained(bert(), folder, low_cpu_mem_usage=True)), trained)

    again = get_peft_model(bert(), config_of(method, task_type="SEQ_CLS"))
    Trainer(again, arguments, train_dataset=data).train(resume_from_checkpoint=True)
    torch.testing.assert_close(logits(again.eval()), trained)

    merged = model.merge_and_unload()
    assert type(merged) is BertForSequenceClassification and not names_of(merged)
    assert set(merged.state_dict()) == set(bert().state_dict())
    torch.testing.assert_close(logits(merged), trained, rtol=1e-5, atol=1e-5)


@every_method
def test_training_goes_on_after_loading(method: str, tmp_path: Path) -> None:
    model = adapted(sequential(), config_of(method, ["0"], modules_to_save=["2"]))
    trained = [name for name, p in model.named_parameters() if p.requires_grad]
    model.save_pretrained(tmp_path)
    frozen = PeftModel.from_pretrained(sequential(), tmp_path)
    assert not any(p.requires_grad for p in frozen.parameters())
    loaded = PeftModel.from_pretrained(sequential(), tmp_path, is_trainable=True)
    assert [name for name, p in loaded.named_parameters() if p.requires_grad] == trained


@every_method
def test_state_dict_round_trip_and_low_cpu_mem_usage(method: str) -> None:
    config = config_of(method, ["0", "2"])
    model = adapted(sequential(), config)
    state = get_peft_model_state_dict(model)
    layers = [m for m in model.modules() if isinstance(m, MultiplicativeLayer)]
    assert len(state) == sum(len(m.parameters_of("default")) for m in layers)
    assert not any("base_layer" in name or "default" in name for name in state)
    for low in (False, True):
        other = get_peft_model(sequential(), copy.deepcopy(config), low_cpu_mem_usage=low)
        assert any(p.is_meta for p in other.parameters()) == low
        result = set_peft_model_state_dict(other, state, low_cpu_mem_usage=low)
        assert not result.unexpected_keys and not any("default" in key for key in result.missing_keys)
        loaded = get_peft_model_state_dict(other)
        assert state.keys() == loaded.keys() and all(torch.equal(state[k], loaded[k]) for k in state)


@every_method
def test_modules_to_save(method: str, tmp_path: Path) -> None:
    model = adapted(sequential(), config_of(method, ["0"], modules_to_save=["2"]))
    x = torch.randn(5, 24)
    with model.disable_adapter():
        assert torch.equal(model(x), sequential()(x))
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(sequential(), tmp_path)
    assert torch.equal(loaded(x), model(x))
    merged = loaded.merge_and_unload()
    assert not torch.equal(merged[2].weight, sequential()[2].weight)
    torch.testing.assert_close(merged(x), model(x), rtol=1e-5, atol=1e-5)


@every_method
def test_config_survives_saving(method: str, tmp_path: Path) -> None:
    options = {"layers_to_transform": [0], "layers_pattern": "layer", "exclude_modules": ["key"]}
    config = config_of(method, modules_to_save=["pooler"], task_type="SEQ_CLS", **options)
    config.save_pretrained(tmp_path)
    loaded = PeftConfig.from_pretrained(tmp_path)
    assert type(loaded) is type(config) and loaded == config
    assert loaded.peft_type is config.peft_type
