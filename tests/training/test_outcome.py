"""When a run counts as diverged: by its loss, unless its score tells that it learnt."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest

from study.storage.rows import HistoryRow
from study.training.outcome import Effort, outcome_of
from study.training.passes import Scores

NAN = math.nan


@pytest.mark.parametrize(
    ("losses", "scores", "higher_is_better", "status"),
    [
        ((1.0, 0.9), (0.5, 0.4), True, "ok"),
        ((1.0, 1.05), (0.5, 0.4), True, "ok"),  # no more than 5 %
        ((1.0, 1.06), (0.5, 0.4), True, "diverged"),
        ((1.0, 1.06), (0.5, 0.5), True, "diverged"),  # no better
        ((1.0, 1.06), (0.5, 0.6), True, "ok"),
        ((1.0, 1.06), (0.5, 0.6), False, "diverged"),
        ((1.0, 1.06), (0.5, 0.4), False, "ok"),
        ((1.0, 1.06), (0.5, NAN), True, "diverged"),
        ((1.0, math.inf), (0.5, 0.6), True, "diverged"),
        ((1.0, NAN), (0.5, 0.6), True, "diverged"),
    ],
)
def test_a_loss_that_rose_is_no_divergence_where_the_score_rose_too(
    losses: tuple[float, float], scores: tuple[float, float], higher_is_better: bool, status: str
) -> None:
    history = [
        HistoryRow(step, NAN, score, loss, NAN, 0.0, 0.0, 1.0)
        for step, (loss, score) in enumerate(zip(losses, scores, strict=True))
    ]
    task = SimpleNamespace(
        metric="score", higher_is_better=higher_is_better, lower_is_better=(), trade_off=(), chance=0.1,
        against_untouched=lambda further, untouched: {},
    )  # fmt: skip
    base = {split: Scores(0.5, 1.0) for split in ("valid", "test")}
    outcome = outcome_of(task, base, history, Scores(0.3, 1.0), None, Effort(1, 2, 3.0, 4.0, 5))  # type: ignore[arg-type]
    assert outcome.status == status
    assert outcome.diverged_at == (1 if status == "diverged" else None)
