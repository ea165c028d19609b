"""Metrics as GLUE's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from support.texts.labelled_text import load, rows_of, write

from study.tasks.labelled_text.subsets import GLUE


def test_metrics_equal_the_reference_and_what_one_finds_by_hand(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    """True positives 3, false negatives 1, false positives 2, true negatives 4."""
    true = torch.tensor([1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    predicted = torch.tensor([1, 1, 1, 0, 1, 1, 0, 0, 0, 0])
    by_hand = {
        "cola": {"matthews": (3 * 4 - 2 * 1) / math.sqrt(5 * 4 * 6 * 5)},
        "mrpc": {"accuracy": 0.7, "f1": 2 * 3 / (2 * 3 + 2 + 1)},
        "sst2": {"accuracy": 0.7},
    }
    reference = {
        "matthews": matthews_corrcoef(true, predicted), "accuracy": accuracy_score(true, predicted),
        "f1": f1_score(true, predicted),
    }  # fmt: skip
    for name, expected in by_hand.items():
        data = write(tmp_path / f"{name}.jsonl", rows_of(20, lambda i: i % 2, GLUE[name].columns))
        task = load(checkpoints["bert"], data, f"task.subset={name}")
        measured = task.metrics(predicted.float(), {"labels": true})
        assert measured == pytest.approx(expected)
        assert measured == pytest.approx({key: reference[key] for key in expected})
        assert next(iter(measured)) == task.metric
        broken = predicted.float().index_fill(0, torch.tensor([4]), math.nan)
        assert all(math.isnan(value) for value in task.metrics(broken, {"labels": true}).values())
        assert task.metrics(torch.ones(10), {"labels": true})[task.metric] == (0 if name == "cola" else 0.4)
        assert task.predictions(torch.tensor([[1.0, 2.0], [math.inf, 0.0]]), {})[0] == 1
        assert task.predictions(torch.tensor([[1.0, 2.0], [math.inf, 0.0]]), {})[1].isnan()


def test_correlations_equal_the_reference_and_what_one_finds_by_hand(
    checkpoints: dict[str, str], tmp_path: Path
) -> None:
    """Deviations -2 -1 0 1 2 and -1 -3 0 1 3: sums of squares 10 and 20, of products 12; ranks 2 1 3 4 5."""
    true, predicted = torch.tensor([1.0, 2, 3, 4, 5]), torch.tensor([3.0, 1, 4, 5, 7])
    data = write(tmp_path / "stsb.jsonl", rows_of(20, lambda i: i % 6, ("sentence1", "sentence2")))
    task = load(checkpoints["bert"], data, "task.subset=stsb")
    measured = task.metrics(predicted, {"labels": true})
    pearson, spearman = 12 / math.sqrt(10 * 20), 1 - 6 * 2 / (5 * 24)
    assert measured == pytest.approx(
        {"correlation": (pearson + spearman) / 2, "pearson": pearson, "spearman": spearman}
    )
    assert measured["pearson"] == pytest.approx(pearsonr(true, predicted).statistic)
    assert measured["spearman"] == pytest.approx(spearmanr(true, predicted).statistic)
    assert task.metrics(torch.full((5,), 2.5), {"labels": true}) == dict.fromkeys(measured, 0.0)
    assert math.isnan(task.metrics(predicted * math.nan, {"labels": true})["correlation"])
