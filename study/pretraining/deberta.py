"""Pretrains the small DeBERTa that task `glue` adapts: on English prose, a quarter of an hour on one core.

Hidden tokens are predicted, and proposals for them told from the originals.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from numpy.random import RandomState  # whose numbers are the same in every version of NumPy
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import (
    AutoModelForMaskedLM,
    DebertaV2Config,
    DebertaV2ForMaskedLM,
    DebertaV2Tokenizer,
    PreTrainedTokenizerBase,
)

from study.pretraining import script
from study.tasks import SPLITS
from study.tasks.loading.pretrained import load_pretrained, load_tokenizer
from study.tasks.miniature import prose
from study.tasks.miniature.glue import paragraphs, sentences

WIDTH, LAYERS, VOCABULARY = 64, 3, 2000
BATCH, STEPS, PEAK = 64, 8000, 2e-3
LONGEST = 40
"""Tokens of a text in pretraining: a sentence, or one and the next."""


def new_tokenizer() -> PreTrainedTokenizerBase:
    """DeBERTaV3's kind of tokenizer, a unigram model, of the training prose; small letters alone."""
    plain = DebertaV2Tokenizer(do_lower_case=True, model_max_length=64)
    return plain.train_new_from_iterator([text for _, text in paragraphs("train")], VOCABULARY)


def small_deberta(tokenizer: PreTrainedTokenizerBase) -> DebertaV2ForMaskedLM:
    """V3's architecture: disentangled attention with shared projections and buckets of relative positions."""
    settings: dict[str, Any] = {
        "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "hidden_size": WIDTH,
        "pooler_hidden_size": WIDTH, "intermediate_size": 4 * WIDTH, "num_hidden_layers": LAYERS,
        "num_attention_heads": 4, "max_position_embeddings": 64, "position_buckets": 16,
        "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True,
        "norm_rel_ebd": "layer_norm", "position_biased_input": False, "type_vocab_size": 0,
        "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, "initializer_range": 0.05,
    }  # fmt: skip
    return DebertaV2ForMaskedLM(DebertaV2Config(**settings))


def pretraining_texts() -> list[tuple[str, ...]]:
    """Each training sentence alone, with the next one, and with a part of itself.

    The last is for attention that compares two texts, which models of long texts learn from repetitions.
    """
    random = RandomState(len(SPLITS))
    texts: list[tuple[str, ...]] = []
    for _, paragraph in paragraphs("train"):
        in_order = prose.SENTENCE_END.split(paragraph)
        texts += [(sentence,) for sentence in in_order] + list(pairwise(in_order))
        for sentence in in_order:
            words = sentence.split()
            start = random.randint(max(1, len(words) - 3))
            texts.append((sentence, " ".join(words[start : start + 4 + random.randint(8)])))
    return texts


def encode(tokenizer: PreTrainedTokenizerBase, texts: list[tuple[str, ...]]) -> tuple[Tensor, Tensor]:
    """Tokens of each text or pair, (rows, LONGEST or less), by their number, and that number, (rows,)."""
    ids = [tokenizer(*text, truncation=True, max_length=LONGEST)["input_ids"] for text in texts]
    rows = [torch.tensor(row) for row in sorted(ids, key=len)]
    padded = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
    return padded, torch.tensor([len(row) for row in rows])


def draw_hidden(tokens: Tensor, tokenizer: PreTrainedTokenizerBase, share: float = 0.2) -> Tensor:
    """Which tokens are hidden, (rows, length): a random share of those that stand for text."""
    special = torch.tensor(tokenizer.all_special_ids)
    return (torch.rand(tokens.shape) < share) & ~torch.isin(tokens, special)


class MaskedAndReplaced(nn.Module):
    """The two losses: hidden tokens are predicted, and proposals for them told from the originals.

    The second is what DeBERTaV3 is pretrained with (replaced token detection, He et al. 2021, arXiv
    2111.09543); here one body makes the proposals and judges them.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.model = small_deberta(tokenizer)
        self.judge = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1))

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Mean losses of a batch of padded rows, (rows, length): of the predictions, of the judgements."""
        mask = (tokens != self.tokenizer.pad_token_id).long()
        hidden = draw_hidden(tokens, self.tokenizer)
        masked = tokens.masked_fill(hidden, self.tokenizer.mask_token_id)
        logits = self.model.cls(self.model.deberta(masked, attention_mask=mask)[0][hidden])
        predicting = F.cross_entropy(logits, tokens[hidden])
        proposed = tokens.clone()
        proposed[hidden] = torch.distributions.Categorical(logits=logits.detach()).sample()
        doubts = self.judge(self.model.deberta(proposed, attention_mask=mask)[0]).squeeze(-1)[mask.bool()]
        replaced = (proposed != tokens).float()[mask.bool()]
        return predicting, F.binary_cross_entropy_with_logits(doubts, replaced)


def pretrain(folder: Path, steps: int = STEPS, seed: int = 0) -> None:
    """Trains tokenizer and model on the training prose."""
    torch.manual_seed(seed)
    tokenizer = new_tokenizer()
    losses = MaskedAndReplaced(tokenizer)
    optimizer = torch.optim.AdamW(losses.parameters(), lr=PEAK, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = script.one_cycle(optimizer, PEAK, steps, warmup=0.03)
    tokens, lengths = encode(tokenizer, pretraining_texts())
    for step in range(steps):
        first = int(torch.randint(len(tokens) - 8 * BATCH, ()))
        rows = first + torch.randperm(8 * BATCH)[:BATCH]  # of similar length
        predicting, judging = losses(tokens[rows, : int(lengths[rows].max())])
        optimizer.zero_grad()
        (predicting + 10 * judging).backward()
        nn.utils.clip_grad_norm_(losses.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        script.report(step, steps, f"{predicting.item():.3f} + 10 * {judging.item():.3f}", every=200)
    losses.model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@torch.no_grad()
def quality(checkpoint: Path) -> dict[str, float]:
    """Share of held-out sentences' hidden tokens that a checkpoint predicts, and a guess would."""
    tokenizer = load_tokenizer(str(checkpoint))
    model = load_pretrained(AutoModelForMaskedLM, str(checkpoint), []).eval()
    shares = {}
    for split in ("valid", "test"):
        tokens, _ = encode(tokenizer, [(sentence,) for sentence in sentences(split)])
        torch.manual_seed(0)
        hidden = draw_hidden(tokens, tokenizer)
        mask = (tokens != tokenizer.pad_token_id).long()
        logits = model(tokens.masked_fill(hidden, tokenizer.mask_token_id), attention_mask=mask).logits
        true = tokens[hidden]
        shares[f"masked tokens found, {split}"] = (logits[hidden].argmax(-1) == true).double().mean().item()
        shares[f"most frequent token, {split}"] = (true == true.mode().values).double().mean().item()
    return {name: round(share, 4) for name, share in shares.items()}


if __name__ == "__main__":
    script.run(pretrain, quality, __doc__ or "", STEPS)
