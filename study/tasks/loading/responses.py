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
    """(prompt, response) pairs as tokens, cut to `max_length`; without those whose response is cut off.

    The prompt starts as the tokenizer starts a text (Llama's: with a token for that). The response is
    tokenised on its own, so that it is known which token is its first, and an end-of-text token is its last.
    """
    if not pairs:
        return []
    prompts = tokenizer([asked for asked, _ in pairs])["input_ids"]
    responses = tokenizer([answer for _, answer in pairs], add_special_tokens=False)["input_ids"]
    examples = []
    for asked, answer in zip(prompts, responses, strict=True):
        ids = torch.tensor([*asked, *answer, tokenizer.eos_token_id][:max_length])
        targets = torch.full_like(ids, NO_TARGET)
        targets[len(asked) - 1 : -1] = ids[len(asked) :]
        if len(ids) > len(asked):
            examples.append(Example(ids, targets))
    return examples
