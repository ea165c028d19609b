"""The miniature with the model that ships, and small models of each kind as files."""

from __future__ import annotations

import pytest
import torch
from support.texts.instructions import MODELS, ROWS, load
from tokenizers import ByteLevelBPETokenizer, processors
from transformers import AutoConfig, AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from study.tasks.instruct import Instruct
from study.tasks.loading.alpaca import prompt


@pytest.fixture(scope="session")
def shipped() -> Instruct:
    return load("scale=mini")


@pytest.fixture(scope="session")
def llama(shipped: Instruct) -> LlamaForCausalLM:
    model = shipped.model().eval()
    assert isinstance(model, LlamaForCausalLM)
    return model


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small model of each kind with its tokenizer; only Qwen2's has a token for padding."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    texts = [prompt(row["instruction"], row["input"]) + row["output"] for row in ROWS]
    for kind, options in MODELS.items():
        tokenizer = ByteLevelBPETokenizer()
        special = ["<|endoftext|>", "<s>"]
        tokenizer.train_from_iterator(texts, vocab_size=400, special_tokens=special, show_progress=False)
        words = {"eos_token": "<|endoftext|>"}
        if kind == "llama":
            tokenizer._tokenizer.post_processor = processors.TemplateProcessing(
                "<s> $A", special_tokens=[("<s>", 1)]
            )
            words["bos_token"] = "<s>"
        if kind == "qwen2":
            words["pad_token"] = "<|endoftext|>"
        PreTrainedTokenizerFast(tokenizer_object=tokenizer._tokenizer, **words).save_pretrained(root / kind)
        made = AutoConfig.for_model(kind, vocab_size=400, bos_token_id=1, eos_token_id=0, **options)
        AutoModelForCausalLM.from_config(made).save_pretrained(root / kind)
    return {kind: str(root / kind) for kind in MODELS}
