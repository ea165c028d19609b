"""Small models of each family, as files."""

from __future__ import annotations

import pytest
import torch
from support.texts.labelled_text import ENCODERS, MODELS, SPECIAL, WORDS
from tokenizers import ByteLevelBPETokenizer, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel, PreTrainedTokenizerFast


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small body without a head, with its tokenizer, of each kind; decoders have no padding token."""
    root = tmp_path_factory.mktemp("models")
    torch.manual_seed(0)
    of_words = Tokenizer(models.WordLevel({w: i for i, w in enumerate(SPECIAL + WORDS)}, unk_token="[UNK]"))
    of_words.pre_tokenizer = pre_tokenizers.Whitespace()
    of_words.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    encoder = PreTrainedTokenizerFast(
        tokenizer_object=of_words, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    of_bytes = ByteLevelBPETokenizer()
    of_bytes.train_from_iterator([" ".join(WORDS)] * 2, vocab_size=300, special_tokens=["<|endoftext|>"])
    decoder = PreTrainedTokenizerFast(
        tokenizer_object=of_bytes._tokenizer, eos_token="<|endoftext|>", padding_side="left"
    )
    for name, options in MODELS.items():
        tokenizer = encoder if name in ENCODERS else decoder
        tokenizer.save_pretrained(root / name)
        AutoModel.from_config(
            AutoConfig.for_model(name, vocab_size=len(tokenizer), **options)
        ).save_pretrained(root / name)
    return {name: str(root / name) for name in MODELS}
