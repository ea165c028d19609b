"""The miniature of GLUE: four tasks made of the shipped prose, and the small DeBERTa pretrained on it.

A tenth of the prose's paragraphs is for test and another for validation; the rest trains the adapters, and
before them the base model. `python -m study.tasks.miniature.glue` rebuilds the checkpoint (a quarter of an
hour on one core).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
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

from study.tasks import SPLITS
from study.tasks.loading.pretrained import load_pretrained, load_tokenizer
from study.tasks.miniature import prose

CHECKPOINT = Path(__file__).parent.parent / "checkpoints" / "glue"
QUALITY = CHECKPOINT / "quality.json"
"""What the shipped checkpoint is good for, written by the command that built it."""

HELD_OUT = 400
"""Examples for validation, and for test."""

TOPICS = {
    "language": ("reference",),
    "graphics": ("tkinter", "turtle"),
    "network": (
        "email", "http", "urllib", "xmlrpc", "smtplib", "ftplib", "imaplib", "nntplib", "poplib", "ssl",
        "socket", "socketserver", "ipaddress", "mailbox", "wsgiref", "cgi",
    ),
    "processes": (
        "asyncio", "threading", "multiprocessing", "concurrent", "subprocess", "queue", "selectors",
    ),
    "numbers": (
        "_pydecimal", "decimal", "fractions", "statistics", "random", "numbers", "datetime", "calendar",
    ),
    "packages": (
        "distutils", "importlib", "zipimport", "pkgutil", "ensurepip", "venv", "zipapp", "modulefinder",
    ),
}  # fmt: skip
"""What the prose speaks of, by where it comes from."""

Examples = tuple[list[list[str]], list[int] | list[float]]
"""One or two columns of texts, and their labels."""


@cache
def paragraphs(split: str) -> list[tuple[str, str]]:
    """(source, text) of a split's share of the prose, shuffled."""
    everything = prose.paragraphs()
    order = RandomState(0).permutation(len(everything)).tolist()
    share = len(everything) // 10
    parts = {"test": order[:share], "valid": order[share : 2 * share], "train": order[2 * share :]}
    return [everything[number] for number in parts[split]]


@cache
def sentences(split: str) -> dict[str, str]:
    """Source of each sentence of 5 to 12 words that occurs in no split before this one (SPLITS)."""
    earlier = SPLITS[: SPLITS.index(split)]
    before = "\n".join(text for other in earlier for _, text in paragraphs(other)).lower()
    return {
        sentence: source
        for source, text in paragraphs(split)
        for sentence in prose.SENTENCE_END.split(text)
        if 5 <= len(sentence.split()) <= 12 and sentence[-1] in ".!?" and sentence.lower() not in before
    }


def acceptability(split: str, random: RandomState) -> Examples:
    """Is the sentence as written (1), or have two neighbouring words changed places (0)?"""
    texts, labels = [], []
    for sentence in sentences(split):
        words = sentence.split()
        label, i = random.randint(2), random.randint(1, len(words) - 2)  # the first and last show their place
        if words[i].lower() != words[i + 1].lower():
            if not label:
                words[i], words[i + 1] = words[i + 1], words[i]
            texts.append(" ".join(words))
            labels.append(int(label))
    return [texts], labels


def topic(split: str, random: RandomState) -> Examples:
    """Which of TOPICS is the sentence about? Others are left out."""
    texts, labels = [], []
    for sentence, source in sentences(split).items():
        kind, _, module = source.partition("/")
        name = kind if kind == "reference" else module.split(".")[0]
        for label, members in enumerate(TOPICS.values()):
            if name in members:
                texts.append(sentence)
                labels.append(label)
    return [texts], labels


def paraphrase(split: str, random: RandomState) -> Examples:
    """Is the second text the first with its two parts the other way round (1), or another one so (0)?"""
    originals = list(sentences(split))
    others, labels = [], []
    for sentence in originals:
        label = random.randint(2)
        words = (sentence if label else originals[random.randint(len(originals))]).split()
        cut = random.randint(1, len(words))
        others.append(" ".join(words[cut:] + words[:cut]))
        labels.append(int(label))
    return [originals, others], labels


def similarity(split: str, random: RandomState) -> Examples:
    """How much of the sentence is left in an edited copy, from 0 to 5?"""
    originals = list(sentences(split))
    copies, labels = [], []
    for sentence in originals:
        words, other = sentence.split(), originals[random.randint(len(originals))].split()
        copy = list(words)
        for i in random.permutation(len(words))[: random.randint(len(words) + 1)]:
            copy[i] = other[i % len(other)]
        copies.append(" ".join(copy))
        labels.append(5 * sum(a == b for a, b in zip(words, copy, strict=True)) / len(words))
    return [originals, copies], labels


MAKERS: dict[str, Callable[[str, RandomState], Examples]] = {
    "acceptability": acceptability, "topic": topic, "paraphrase": paraphrase, "similarity": similarity,
}  # fmt: skip


def splits(subset: str) -> dict[str, Examples]:
    """The splits of a task, the same on every machine."""
    made = {}
    for number, split in enumerate(SPLITS):
        texts, labels = MAKERS[subset](split, RandomState(number))
        count = None if split == "train" else HELD_OUT
        made[split] = ([column[:count] for column in texts], labels[:count])
    return made


# the base model ------------------------------------------------------------------------------

WIDTH, LAYERS, VOCABULARY = 64, 3, 2000
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
    found: list[tuple[str, ...]] = []
    for _, text in paragraphs("train"):
        own = prose.SENTENCE_END.split(text)
        found += [(sentence,) for sentence in own] + list(pairwise(own))
        for sentence in own:
            words = sentence.split()
            start = random.randint(max(1, len(words) - 3))
            found.append((sentence, " ".join(words[start : start + 4 + random.randint(8)])))
    return found


def encoded(tokenizer: PreTrainedTokenizerBase, texts: list[tuple[str, ...]]) -> tuple[Tensor, Tensor]:
    """Tokens of each text or pair, (rows, LONGEST or less), by their number, and that number, (rows,)."""
    found = [tokenizer(*text, truncation=True, max_length=LONGEST)["input_ids"] for text in texts]
    rows = [torch.tensor(ids) for ids in sorted(found, key=len)]
    padded = pad_sequence(rows, batch_first=True, padding_value=tokenizer.pad_token_id)
    return padded, torch.tensor([len(row) for row in rows])


def masked(tokens: Tensor, tokenizer: PreTrainedTokenizerBase, share: float = 0.2) -> Tensor:
    """Which tokens are hidden, (rows, length): a random share of those that stand for text."""
    special = torch.tensor(tokenizer.all_special_ids)
    return (torch.rand(tokens.shape) < share) & ~torch.isin(tokens, special)


def pretrain(steps: int = 8000, batch_size: int = 64, peak: float = 2e-3, seed: int = 0) -> None:
    """Rebuilds the checkpoint: hidden tokens are predicted, and proposals for them told from the originals.

    The second is what DeBERTaV3 is pretrained with (replaced token detection, He et al. 2021, arXiv
    2111.09543); here one body makes the proposals and judges them.
    """
    torch.manual_seed(seed)
    tokenizer = new_tokenizer()
    model = small_deberta(tokenizer)
    judge = nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Linear(WIDTH, 1))
    parameters = [*model.parameters(), *judge.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=peak, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, peak, total_steps=steps, pct_start=0.03)
    tokens, lengths = encoded(tokenizer, pretraining_texts())
    for step in range(steps):
        first = int(torch.randint(len(tokens) - 8 * batch_size, ()))
        rows = first + torch.randperm(8 * batch_size)[:batch_size]  # of similar length
        original = tokens[rows, : int(lengths[rows].max())]
        mask = (original != tokenizer.pad_token_id).long()
        hidden = masked(original, tokenizer)
        states = model.deberta(original.masked_fill(hidden, tokenizer.mask_token_id), attention_mask=mask)[0]
        logits = model.cls(states[hidden])
        loss = F.cross_entropy(logits, original[hidden])
        proposed = original.clone()
        proposed[hidden] = torch.distributions.Categorical(logits=logits.detach()).sample()
        doubts = judge(model.deberta(proposed, attention_mask=mask)[0]).squeeze(-1)[mask.bool()]
        replaced = (proposed != original).float()[mask.bool()]
        found = F.binary_cross_entropy_with_logits(doubts, replaced)
        optimizer.zero_grad()
        (loss + 10 * found).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 200 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f} + 10 * {found.item():.3f}", flush=True)
    CHECKPOINT.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(CHECKPOINT)
    tokenizer.save_pretrained(CHECKPOINT)
    QUALITY.write_text(json.dumps(quality(), indent=2) + "\n")
    print(QUALITY.read_text())


@torch.no_grad()
def quality() -> dict[str, float]:
    """Share of held-out sentences' hidden tokens that the shipped checkpoint finds, and a guess would."""
    tokenizer = load_tokenizer(str(CHECKPOINT))
    model = load_pretrained(AutoModelForMaskedLM, str(CHECKPOINT), []).eval()
    found = {}
    for split in ("valid", "test"):
        tokens, _ = encoded(tokenizer, [(sentence,) for sentence in sentences(split)])
        torch.manual_seed(0)
        hidden = masked(tokens, tokenizer)
        mask = (tokens != tokenizer.pad_token_id).long()
        logits = model(tokens.masked_fill(hidden, tokenizer.mask_token_id), attention_mask=mask).logits
        true = tokens[hidden]
        found[f"masked tokens found, {split}"] = (logits[hidden].argmax(-1) == true).double().mean().item()
        found[f"most frequent token, {split}"] = (true == true.mode().values).double().mean().item()
    return {name: round(share, 4) for name, share in found.items()}


if __name__ == "__main__":
    pretrain()
