"""Prompts and responses as tokens, with the response alone to be predicted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

NO_TARGET = -100
"""What torch's cross entropy passes over."""


class Example(NamedTuple):
    """A prompt and its response as tokens.

    Attributes:
        input_ids: the tokens, (length,).
        targets: what each position is to say, the token after it, if that belongs to the response or ends it;
            NO_TARGET elsewhere; (length,).
    """

    input_ids: Tensor
    targets: Tensor


def tokenise(
    tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]], max_length: int | None
) -> list[Example]:
    """(prompt, response) pairs as tokens, cut to `max_length`; without those whose response is cut off."""
    return [made for whole in whole_examples(tokenizer, pairs) if (made := cut(whole, max_length))]


def whole_examples(tokenizer: PreTrainedTokenizerBase, pairs: Sequence[tuple[str, str]]) -> list[Example]:
    """(prompt, response) pairs as tokens, however many they are.

    The prompt starts as the tokenizer starts a text (Llama's: with a token for that). The response is
    tokenised on its own, so that it is known which token is its first, and an end-of-text token is its last.
    """
    if not pairs:
        return []
    prompts = tokenizer([asked for asked, _ in pairs])["input_ids"]
    responses = tokenizer([answer for _, answer in pairs], add_special_tokens=False)["input_ids"]
    examples = []
    for asked, answer in zip(prompts, responses, strict=True):
        ids = torch.tensor([*asked, *answer, tokenizer.eos_token_id])
        targets = torch.full_like(ids, NO_TARGET)
        targets[len(asked) - 1 : -1] = ids[len(asked) :]
        examples.append(Example(ids, targets))
    return examples


def cut(example: Example, max_length: int | None) -> Example | None:
    """The example's first tokens; None if no token of the response is among them."""
    if max_length is None or len(example.input_ids) <= max_length:
        return example
    ids, targets = example.input_ids[:max_length], example.targets[:max_length].clone()
    targets[-1] = NO_TARGET  # what it was to say is cut off
    return Example(ids, targets) if (targets != NO_TARGET).any() else None
