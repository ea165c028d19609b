"""The miniature's four tasks are the same everywhere, and hold out what they say."""

from __future__ import annotations

import hashlib
import json

import pytest

from study.pretraining import deberta
from study.tasks import SPLITS
from study.tasks.labelled_text.metrics import METRICS
from study.tasks.labelled_text.subsets import MINIATURE
from study.tasks.miniature import glue as miniature


def test_the_miniature_is_the_same_everywhere() -> None:
    made = json.dumps({name: miniature.splits(name) for name in MINIATURE})
    assert hashlib.sha256(made.encode()).hexdigest()[:16] == "62112188cb6673ca"
    assert METRICS.keys() >= {metric for subset in MINIATURE.values() for metric in subset.metrics}


def test_nothing_that_is_held_out_was_pretrained_or_trained_on() -> None:
    known = "\n".join(" ".join(texts) for texts in deberta.pretraining_texts()).lower()
    assert "return true if" in known
    for earlier, split in (("train", "valid"), ("train", "test"), ("valid", "test")):
        assert not miniature.sentences(earlier).keys() & miniature.sentences(split).keys()
        assert not [sentence for sentence in miniature.sentences(split) if sentence.lower() in known]
    assert known.count(next(iter(miniature.sentences("train"))).lower()) > 1


def test_labels_of_the_miniature_are_what_they_say() -> None:
    for split in SPLITS:
        for (text,), label in by_row(miniature.splits("acceptability")[split]):
            assert (text in miniature.sentences(split)) == (label == 1)
        for (text,), label in by_row(miniature.splits("topic")[split]):
            module = miniature.sentences(split)[text].replace("/", ".").split(".")
            assert set(module[:2]) & set(list(miniature.TOPICS.values())[int(label)])
        for (first, second), label in by_row(miniature.splits("paraphrase")[split]):
            assert (sorted(first.split()) == sorted(second.split())) == (label == 1)
        for (first, second), label in by_row(miniature.splits("similarity")[split]):
            unchanged = [a == b for a, b in zip(first.split(), second.split(), strict=True)]
            assert label == pytest.approx(2 * sum(unchanged) / len(unchanged) - 1)


def by_row(examples: miniature.Examples) -> list[tuple[tuple[str, ...], float]]:
    columns, labels = examples
    return list(zip(zip(*columns, strict=True), labels, strict=True))
