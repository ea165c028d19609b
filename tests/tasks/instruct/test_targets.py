"""Which tokens of a prompt and its response carry loss."""

from __future__ import annotations

import pytest
import torch
from support.texts.instructions import batch_of
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from study.tasks.instruct import Instruct
from study.tasks.loading.alpaca import prompt
from study.tasks.loading.responses import NO_TARGET, tokenise
from study.tasks.miniature import instruct as miniature

N = NO_TARGET


@pytest.fixture(scope="module")
def letters() -> PreTrainedTokenizerFast:
    """One token per letter, `<s>` = 0 before a text, `</s>` = 1, a = 2, b = 3, ..."""
    vocabulary = {token: i for i, token in enumerate(["<s>", "</s>", *"abcdefgh"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="</s>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>")


@pytest.mark.parametrize(
    ("max_length", "ids", "targets"),
    [
        (None, [0, 2, 3, 4, 5, 6, 1], [N, N, 4, 5, 6, 1, N]),
        (7, [0, 2, 3, 4, 5, 6, 1], [N, N, 4, 5, 6, 1, N]),
        (6, [0, 2, 3, 4, 5, 6], [N, N, 4, 5, 6, N]),  # the end is cut off
        (4, [0, 2, 3, 4], [N, N, 4, N]),
    ],
)
def test_only_the_response_and_its_end_are_to_be_said(
    letters: PreTrainedTokenizerFast, max_length: int | None, ids: list[int], targets: list[int]
) -> None:
    (example,) = tokenise(letters, [("a b", "c d e")], max_length)
    assert example.input_ids.tolist() == ids and example.targets.tolist() == targets


def test_examples_without_a_token_of_their_response_are_left_out(letters: PreTrainedTokenizerFast) -> None:
    pairs = [("a b", "c"), ("a", "c"), ("a b c", "d")]
    examples = tokenise(letters, pairs, 3)
    assert [example.input_ids.tolist() for example in examples] == [[0, 2, 4]]
    assert tokenise(letters, [], 3) == []


def test_padding_is_never_a_target(shipped: Instruct) -> None:
    batch = batch_of(shipped, 40)
    for i, example in enumerate(shipped.splits["train"][:40]):
        length = len(example.input_ids)
        assert torch.equal(batch["input_ids"][i, :length], example.input_ids)
        assert torch.equal(batch["targets"][i, :length], example.targets)
        assert (batch["targets"][i, length:] == N).all()
    assert len({len(example.input_ids) for example in shipped.splits["train"][:40]}) > 5


def test_targets_spell_the_response(shipped: Instruct) -> None:
    for example, row in zip(shipped.splits["test"], miniature.rows()["test"], strict=True):
        tokens = example.targets[example.targets != N].tolist()
        assert tokens.pop() == shipped.tokenizer.eos_token_id
        assert shipped.tokenizer.decode(tokens) == row.output


def test_prompts_are_alpacas() -> None:
    request = "Write a response that appropriately completes the request.\n\n### Instruction:\n"
    assert prompt("Do {it}.", "a") == (
        "Below is an instruction that describes a task, paired with an input that provides further context. "
        f"{request}Do {{it}}.\n\n### Input:\na\n\n### Response:"
    )
    assert prompt("Do.") == (f"Below is an instruction that describes a task. {request}Do.\n\n### Response:")
