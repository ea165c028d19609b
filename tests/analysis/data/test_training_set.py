"""What a report says of a study's training data."""

from __future__ import annotations

import pandas as pd
import pytest

from analysis.data.training_set import training_set_of

NAN = float("nan")


@pytest.mark.parametrize("columns, expected", [
    ({}, ""),
    ({"task.train_examples": [NAN, NAN], "task.label_noise": [None, None]}, ""),
    ({"task.train_examples": [1200.0, 1200.0]}, "Trained on 1,200 of the training examples."),
    ({"task.train_examples": [200.0, 50.0]}, "Trained on 50 or 200 of the training examples."),
    ({"task.train_examples": [50.0, NAN]}, "Trained on 50 or all of the training examples."),
    ({"task.label_noise": [0.2, 0.0]},
     "Of the training labels 0 % or 20 % were replaced by those of other classes."),
    ({"task.train_examples": [9, 9], "task.label_noise": [0.25, NAN]},
     "Trained on 9 of the training examples. Of the training labels 25 % or none were replaced by those of "
     "other classes."),
])  # fmt: skip
def test_what_was_trained_on_is_said(columns: dict[str, list[object]], expected: str) -> None:
    runs = pd.DataFrame({"lr": [0.1, 0.1], **columns})
    assert training_set_of(runs) == expected
