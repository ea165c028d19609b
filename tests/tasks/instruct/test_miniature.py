"""The miniature's rows are the same everywhere, right, and in one split each."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from support.texts.instructions import load

from study import methods
from study.tasks import SPLITS
from study.tasks.instruct import Instruct
from study.tasks.miniature import instruct as miniature
from study.training.hyperparameters import Hyperparameters
from study.training.passes import BaseScores
from study.training.train import train


def test_no_text_is_in_two_places() -> None:
    rows, prose = miniature.rows(), miniature.parts()
    texts = {split: [row.input for row in rows[split]] for split in SPLITS}
    everything = [text for split in SPLITS for text in texts[split]]
    assert len(set(everything)) == len(everything) == sum(miniature.SIZES.values())
    read = " ".join(f" {' '.join(re.findall('[a-z]+', text.lower()))} " for text in prose["pretraining"])
    assert not [text for text in everything if f" {text} " in read]
    paragraphs = [text for part in prose.values() for text in part]
    assert len(set(paragraphs)) == len(paragraphs)
    for split in SPLITS:
        text_of_split = " ".join(prose[split])
        assert all(text in text_of_split for text in texts[split])


def test_the_data_are_the_same_everywhere() -> None:
    digest = hashlib.sha256(json.dumps(miniature.rows()).encode()).hexdigest()
    assert digest[:16] == "8a7689ef8840d3ce"


def test_answers_by_hand() -> None:
    words = ["a", "file", "is", "open"]
    answers = {name: " ".join(skill.apply(words)) for name, skill in miniature.SKILLS.items()}
    assert answers == {
        "head": "a",
        "neck": "file",
        "tail": "open",
        "behead": "file is open",
        "curtail": "a file is",
        "flip": "open is file a",
        "trade": "open file is a",
        "double": "a file is open a file is open",
        "size": "four",
    }


def test_chance_is_what_one_answer_to_everything_reaches(shipped: Instruct) -> None:
    outputs = [row.output for row in miniature.rows()["test"]]
    commonest = max(set(outputs), key=outputs.count)
    assert 0 < shipped.chance <= outputs.count(commonest) / len(outputs) < 0.1


@pytest.mark.slow
def test_a_short_training_beats_the_frozen_model_by_far() -> None:
    task = load("scale=mini", "task.steps=100", "task.evaluations=1")
    made = methods.config("lora", {"r": 8, "lora_alpha": 8}, task.settings.target_modules, None)
    model = task.model()
    base = BaseScores(task, model)
    (trained,) = train(task, model, made, [Hyperparameters(1e-2, 0)], base)
    assert (
        trained.outcome.status == "ok"
        and trained.outcome.test > trained.outcome.base_test + 0.3 > task.chance + 0.3
    )
