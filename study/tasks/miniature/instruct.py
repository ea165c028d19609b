"""The miniature of instruction tuning: what is asked of words in English.

The base model (`study.pretraining.llama`) has read prose, and sessions in which commands and terse
descriptions are applied to texts: `tail ( it is closed ) = closed` and `the last word of ( it is closed ) =
closed`. It has also seen commands, but no English, inside Alpaca's prompt. Instruction tuning asks for the
same operations in sentences, in that prompt: "Which word comes last?". Pretraining and each split have
paragraphs of their own.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import NamedTuple

from study.tasks import SPLITS
from study.tasks.miniature import prose

Words = list[str]

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")


class Skill(NamedTuple):
    """What is done to the words of a text, and how that is said: in sessions, and when it is asked for."""

    apply: Callable[[Words], Words]
    descriptions: tuple[str, ...]
    requests: tuple[str, ...]


SKILLS = {
    "head": Skill(
        lambda words: words[:1],
        ("first word", "beginning"),
        ("Give the first word.", "Which word comes first?", "How does the text begin?"),
    ),
    "neck": Skill(
        lambda words: words[1:2],
        ("second word", "word after the first"),
        ("Give the second word.", "Which word comes second?", "What follows the first word?"),
    ),
    "tail": Skill(
        lambda words: words[-1:],
        ("last word", "end"),
        ("Give the last word.", "Which word comes last?", "How does the text end?"),
    ),
    "behead": Skill(
        lambda words: words[1:],
        ("all but the first word", "everything from the second word on"),
        ("Remove the first word.", "Leave out the first word.", "Start with the second word."),
    ),
    "curtail": Skill(
        lambda words: words[:-1],
        ("all but the last word", "everything before the last word"),
        ("Remove the last word.", "Leave out the last word.", "Stop before the last word."),
    ),
    "flip": Skill(
        lambda words: words[::-1],
        ("words in reverse order", "words from the end to the beginning"),
        ("Reverse the words.", "Read the text backwards.", "Go from last to first."),
    ),
    "trade": Skill(
        lambda words: [words[-1], *words[1:-1], words[0]],
        ("text with both ends exchanged", "text with the first and last word swapped"),
        ("Swap first and last word.", "Exchange both ends.", "Let the ends change places."),
    ),
    "double": Skill(
        lambda words: words + words,
        ("text two times", "text and the text again"),
        ("Repeat the text.", "Write the text two times.", "Say it twice."),
    ),
    "size": Skill(
        lambda words: [NUMBERS[len(words)]],
        ("number of words", "length"),
        ("Count the words.", "How many words are there?", "How long is the text?"),
    ),
}

SHORTEST, LONGEST = 3, 5
"""Words of a text."""

SIZES = {"test": 480, "valid": 240, "train": 1600}
SHARES = {"test": 0.12, "valid": 0.06, "train": 0.27, "pretraining": 0.55}
"""Of the paragraphs."""


class Row(NamedTuple):
    skill: str
    instruction: str
    input: str
    output: str


@cache
def parts() -> dict[str, list[str]]:
    """The prose's paragraphs, each in one of SHARES."""
    texts = [text for _, text in prose.paragraphs()]
    random.Random(0).shuffle(texts)
    paragraphs: dict[str, list[str]] = {}
    start = 0
    for part, share in SHARES.items():
        stop = start + round(share * len(texts))
        paragraphs[part], start = texts[start:stop], stop
    return paragraphs


@cache
def common() -> frozenset[str]:
    """The 400 commonest words of the pretraining prose: to the model, one token each, or nearly so."""
    words = Counter(word for text in parts()["pretraining"] for word in text.split())
    plain = [word for word, _ in words.most_common() if re.fullmatch("[a-z]+", word)]
    return frozenset(plain[:400])


def word_runs(paragraphs: Sequence[str]) -> Iterator[Words]:
    """Two and more common words that follow one another with nothing between."""
    for text in paragraphs:
        run: Words = []
        for word in [*text.split(), ""]:
            if word in common():
                run.append(word)
            else:
                if len(run) > 1:
                    yield run
                run = []


def pieces(text: str) -> Iterator[str]:
    """Whatever SHORTEST to LONGEST words follow one another in a text, in whatever case and punctuation."""
    words = re.findall("[a-z]+", text.lower())
    for size in range(SHORTEST, LONGEST + 1):
        for i in range(len(words) - size + 1):
            yield " ".join(words[i : i + size])


@cache
def rows() -> dict[str, list[Row]]:
    """The splits. No text is in two rows, and none occurs in the prose that the base model has read."""
    draw = random.Random(1)
    taken = {piece for text in parts()["pretraining"] for piece in pieces(text)}
    rows_by_split: dict[str, list[Row]] = {}
    for split, size in SIZES.items():
        texts = []
        for run in word_runs(parts()[split]):
            while len(run) >= SHORTEST:
                length = min(draw.randint(SHORTEST, LONGEST), len(run))
                text, run = " ".join(run[:length]), run[length:]
                if text not in taken:
                    taken.add(text)
                    texts.append(text)
        draw.shuffle(texts)
        rows_by_split[split] = []
        for i, text in enumerate(texts[:size]):
            name = list(SKILLS)[i % len(SKILLS)]
            skill = SKILLS[name]
            row = Row(name, draw.choice(skill.requests), text, " ".join(skill.apply(text.split())))
            rows_by_split[split].append(row)
    return {split: rows_by_split[split] for split in SPLITS}
