"""Small models for what a plain `peft` user does, adapted by the methods of this project."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import PeftConfig, PeftModel, get_peft_model
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from study import methods
from study.methods.multiplicative import MultiplicativeLayer
from support import dense

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
    adapted_names = (
        name for name, module in model.named_modules() if isinstance(module, MultiplicativeLayer)
    )
    return {name.removeprefix("base_model.model.") for name in adapted_names}


def logits(model: nn.Module, tokens: Tensor = TOKENS) -> Tensor:
    with torch.no_grad():
        return model(input_ids=tokens).logits


def copies(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.named_parameters()}
