"""The miniature of GLUE: four tasks made of the shipped prose.

A tenth of the prose's paragraphs is for test and another for validation; the rest trains the adapters, and
before them the base model (`study.pretraining.deberta`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from numpy.random import RandomState  # whose numbers are the same in every version of NumPy

from study.tasks import SPLITS
from study.tasks.miniature import prose

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
    """How much of the sentence is left in an edited copy, from -1, nothing, to 1, all of it?

    Labels lie around 0, where a new head begins. STS-B's own, 0 to 5, do not: with them the first steps go
    into their mean, adapters move the same way for all texts, and within 150 steps LoRA learns nothing else.
    """
    originals = list(sentences(split))
    copies, labels = [], []
    for sentence in originals:
        words, other = sentence.split(), originals[random.randint(len(originals))].split()
        copy = list(words)
        for i in random.permutation(len(words))[: random.randint(len(words) + 1)]:
            copy[i] = other[i % len(other)]
        copies.append(" ".join(copy))
        left = sum(a == b for a, b in zip(words, copy, strict=True))
        labels.append(2 * left / len(words) - 1)
    return [originals, copies], labels


MAKERS: dict[str, Callable[[str, RandomState], Examples]] = {
    "acceptability": acceptability, "topic": topic, "paraphrase": paraphrase, "similarity": similarity,
}  # fmt: skip


def splits(subset: str) -> dict[str, Examples]:
    """The splits of a task, the same on every machine."""
    examples = {}
    for number, split in enumerate(SPLITS):
        texts, labels = MAKERS[subset](split, RandomState(number))
        count = None if split == "train" else HELD_OUT
        examples[split] = ([column[:count] for column in texts], labels[:count])
    return examples
