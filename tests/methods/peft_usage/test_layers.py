"""What is adapted, and what is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from peft import (
    LoraConfig,
    get_peft_model,
)
from support import dense
from support.peft_models import (
    TOKENS,
    adapted,
    bert,
    config_of,
    every_method,
    gpt2,
    llama,
    logits,
    names_of,
    sequential,
)
from torch import nn
from transformers import (
    PreTrainedModel,
)

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
