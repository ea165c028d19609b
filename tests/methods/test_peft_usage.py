"""What a plain `peft` user relies on: the methods through `peft`, transformers and their `Trainer`."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import (
    AutoPeftModelForSequenceClassification,
    LoraConfig,
    PeftConfig,
    PeftModel,
    get_peft_model,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from support import dense
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Trainer,
    TrainingArguments,
)

from study import methods
from study.methods.multiplicative import MultiplicativeLayer

every_method = pytest.mark.parametrize("method", dense.METHODS)
ATTENTION = ["query", "value"]
TOKENS = torch.arange(24).view(2, 12)
LABELS = torch.tensor([0, 1])


def bert(dtype: torch.dtype = torch.float32, layers: int = 2) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=31,
        hidden_size=32,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=16,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.2,
    )
    return BertForSequenceClassification(config).to(dtype).eval()


def gpt2() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    return GPT2LMHeadModel(GPT2Config(n_embd=24, n_layer=1, n_head=2, vocab_size=32, n_positions=16)).eval()


def llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=24,
        intermediate_size=48,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def sequential(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(24, 48), nn.Tanh(), nn.Linear(48, 8)).to(dtype)


def config_of(method: str, target_modules: Any = ATTENTION, **options: Any) -> PeftConfig:
    """Options that belong to `peft`, which `methods.config` passes on as well."""
    return methods.config(method, {"blocks": 4} | options, target_modules)


def shake(model: nn.Module, seed: int = 2, size: float = 0.1) -> None:
    """Moves all trained parameters off their initialisation."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(size * torch.randn_like(parameter))


def adapted(base: nn.Module, config: PeftConfig, **options: Any) -> PeftModel:
    torch.manual_seed(1)
    model = get_peft_model(base, config, **options)
    shake(model)
    return model.eval()


def names_of(model: nn.Module) -> set[str]:
    """Adapted layers, by their names in the base model."""
    found = (name for name, module in model.named_modules() if isinstance(module, MultiplicativeLayer))
    return {name.removeprefix("base_model.model.") for name in found}


def logits(model: nn.Module, tokens: Tensor = TOKENS) -> Tensor:
    with torch.no_grad():
        return model(input_ids=tokens).logits


def copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}


# Training, saving, loading ------------------------------------------------------------------


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


@every_method
def test_bad_configs_are_refused(method: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'dropout'"):
        config_of(method, dropout=0.1)  # the methods have none
    with pytest.raises(ValueError, match="Invalid task type: 'POETRY'"):
        config_of(method, task_type="POETRY")
    with pytest.raises(
        ValueError, match="layers_to_transform cannot be used when target_modules is a string"
    ):
        config_of(method, ".*query", layers_to_transform=[0])
    with pytest.raises(ValueError, match="layers_pattern needs layers_to_transform"):
        config_of(method, layers_pattern="layer")
    with pytest.raises(ValueError, match="not found in the base model"):
        get_peft_model(sequential(), config_of(method, ["q_proj"]))
    with pytest.raises(ValueError, match="specify `target_modules`"):
        get_peft_model(sequential(), config_of(method, None))
    config_of(method).save_pretrained(tmp_path)
    file = tmp_path / "adapter_config.json"
    file.write_text(file.read_text().replace('"blocks": 4', '"blocks": "four"'))
    with pytest.raises(ValueError, match="blocks must be a positive integer, got 'four'"):
        PeftConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize("sides", [0, 3, True, 2.0, "2"])
def test_bad_sides(sides: Any) -> None:
    with pytest.raises(ValueError, match="sides must be 1 or 2"):
        config_of("ether_plus", sides=sides)


@pytest.mark.parametrize("init_scale", [0, -1.0, float("nan"), float("inf")])
def test_bad_scales(init_scale: float) -> None:
    with pytest.raises(ValueError, match="init_scale must be positive and finite"):
        config_of("ether", init_scale=init_scale)


# Several adapters ---------------------------------------------------------------------------


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
    found = (m for m in model.modules() if isinstance(m, MultiplicativeLayer))
    assert all(set(m.configs) == {"default", "two"} for m in found)


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


# Precision, checkpointing, compilation ------------------------------------------------------


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


# What is adapted ----------------------------------------------------------------------------

SELF = "bert.encoder.layer.{}.attention.self."


@every_method
def test_choosing_layers(method: str) -> None:
    def chosen(target_modules: Any, **options: Any) -> set[str]:
        return names_of(get_peft_model(bert(), config_of(method, target_modules, **options)))

    linear = {name for name, module in bert().named_modules() if isinstance(module, nn.Linear)}
    with_blocks_that_fit = chosen("all-linear", blocks=2)  # the classifier is 2 wide
    assert with_blocks_that_fit == linear
    assert chosen("all-linear", task_type="SEQ_CLS") == linear - {"classifier"}
    assert chosen(r".*\.0\..*self\.(query|key)") == {SELF.format(0) + n for n in ("query", "key")}
    assert chosen(["query"], layers_to_transform=[1]) == {SELF.format(1) + "query"}
    assert chosen(["query"], layers_to_transform=0, layers_pattern="layer") == {SELF.format(0) + "query"}
    assert chosen(["query", "value"], exclude_modules=["value"]) == {
        SELF.format(i) + "query" for i in range(2)
    }
    assert chosen(["query"], exclude_modules=r".*\.0\..*") == {SELF.format(1) + "query"}
    assert chosen(None) == {SELF.format(i) + n for i in range(2) for n in ("query", "value")}


@every_method
@pytest.mark.parametrize("build,targets", [(gpt2, ["c_attn"]), (llama, ["q_proj", "v_proj"])])
def test_tied_embeddings_stay_tied(
    method: str, build: Callable[[], PreTrainedModel], targets: list[str]
) -> None:
    base = build()
    assert base.get_output_embeddings().weight is base.get_input_embeddings().weight
    embedding = base.get_input_embeddings().weight.detach().clone()
    model = adapted(base, config_of(method, targets))
    before = logits(model)
    merged = model.merge_and_unload()
    torch.testing.assert_close(logits(merged), before, rtol=1e-5, atol=1e-5)
    assert merged.get_output_embeddings().weight is merged.get_input_embeddings().weight
    assert torch.equal(merged.get_input_embeddings().weight, embedding)
    assert merged.config.tie_word_embeddings


@every_method
def test_merging_a_tied_head_is_refused(method: str) -> None:
    model = adapted(llama(), config_of(method, ["lm_head"]))
    before = logits(model)  # applied to the head alone
    embedding = model.get_input_embeddings().weight.detach().clone()
    for merge in (model.merge_adapter, model.merge_and_unload):
        with (
            pytest.warns(UserWarning, match="tie_word_embeddings=True"),
            pytest.raises(ValueError, match="layer lm_head shares its weight with model.embed_tokens"),
        ):
            merge()
    assert torch.equal(logits(model), before)
    assert torch.equal(model.get_input_embeddings().weight, embedding)
    head = model.base_model.model.lm_head.base_layer
    head.weight = nn.Parameter(head.weight.detach().clone())
    model.config.tie_word_embeddings = False
    torch.testing.assert_close(logits(model.merge_and_unload()), before, rtol=1e-5, atol=1e-5)


@every_method
def test_conv1d_of_gpt2_equals_the_dense_form(method: str) -> None:
    model = adapted(gpt2().double(), config_of(method, ["c_attn"]), autocast_adapter_dtype=False)
    layer = model.base_model.model.transformer.h[0].attn.c_attn
    weight, bias = layer.base_layer.weight.T.clone(), layer.bias  # Conv1D stores (d, f)
    x = torch.randn(5, 24, dtype=torch.float64)
    expected = dense.forward(method, layer.parameters_of("default"), weight, bias, x)
    torch.testing.assert_close(layer(x), expected, rtol=1e-10, atol=1e-10)
    base = model.merge_and_unload().transformer.h[0].attn.c_attn
    assert base.weight.shape == (24, 72) and base.weight.is_contiguous()
    torch.testing.assert_close(base(x), expected, rtol=1e-10, atol=1e-10)
    generated = get_peft_model(gpt2(), config_of(method, ["c_attn"])).generate(
        input_ids=TOKENS[:, :4], max_new_tokens=2, do_sample=False, pad_token_id=0
    )
    assert generated.shape == (2, 6)


class Linear4bit(nn.Module):
    """Stands for bitsandbytes' class."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(24 * 24 // 2, 1, dtype=torch.uint8), requires_grad=False)


class Linear8bitLt(nn.Linear):
    """Stands for bitsandbytes' class, which is an `nn.Linear`."""


def int8_linear() -> nn.Linear:
    linear = nn.Linear(24, 24)
    linear.weight = nn.Parameter(torch.zeros(24, 24, dtype=torch.int8), requires_grad=False)
    return linear


@every_method
@pytest.mark.parametrize("build,what", [
    (lambda: nn.Conv2d(4, 4, 1), "a Conv2d"),
    (lambda: nn.Embedding(4, 24), "a Embedding"),
    (lambda: nn.MultiheadAttention(24, 2), "a MultiheadAttention"),
    (Linear4bit, "a Linear4bit"),
    (lambda: Linear8bitLt(24, 24), "a Linear8bitLt"),
    (int8_linear, "a Linear with torch.int8 weights"),
])  # fmt: skip
def test_unsupported_layers_are_refused_by_name(
    method: str, build: Callable[[], nn.Module], what: str
) -> None:
    message = f"layer 0 is {what}; multiplicative methods adapt torch.nn.Linear and transformers' Conv1D"
    with pytest.raises(TypeError, match=f"^{message}, unquantised$"):
        get_peft_model(nn.Sequential(build()), config_of(method, ["0"]))


def test_a_layer_of_another_tuner_is_refused_by_name() -> None:
    lora = get_peft_model(sequential(), LoraConfig(target_modules=["0"])).base_model.model
    del lora.peft_config
    with pytest.raises(TypeError, match="layer 0 is adapted by peft.tuners.lora.layer.Linear already"):
        get_peft_model(lora, config_of("ether", ["0"]))
    ours = get_peft_model(sequential(), config_of("oft", ["0"])).base_model.model
    del ours.peft_config
    with pytest.raises(TypeError, match="layer 0 is adapted by study.methods.oft.OftLayer already"):
        get_peft_model(ours, config_of("ether", ["0"]))


# Copies, counts, merging --------------------------------------------------------------------


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


# transformers' own adapters -----------------------------------------------------------------


@every_method
def test_auto_classes_and_load_adapter(method: str, tmp_path: Path) -> None:
    bert().save_pretrained(tmp_path / "base")
    base = BertForSequenceClassification.from_pretrained(tmp_path / "base")
    model = adapted(base, config_of(method, task_type="SEQ_CLS"))
    expected = logits(model)
    model.save_pretrained(tmp_path / "adapter")
    auto = AutoPeftModelForSequenceClassification.from_pretrained(tmp_path / "adapter")
    assert torch.equal(logits(auto), expected)
    whole = BertForSequenceClassification.from_pretrained(tmp_path / "adapter")  # base and adapter at once
    assert torch.equal(logits(whole), expected)
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
