"""GLUE's metrics, computed by scikit-learn and SciPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef


def _correlation(function: Any, true: np.ndarray, predicted: np.ndarray) -> float:
    """Pearson's or Spearman's; undefined where nothing varies, which is no better than chance."""
    if np.ptp(predicted) == 0 or np.ptp(true) == 0:
        return 0.0
    return float(function(true, predicted).statistic)


def _pearson(true: np.ndarray, predicted: np.ndarray) -> float:
    return _correlation(pearsonr, true, predicted)


def _spearman(true: np.ndarray, predicted: np.ndarray) -> float:
    return _correlation(spearmanr, true, predicted)


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "accuracy": lambda true, predicted: float(accuracy_score(true, predicted)),
    "f1": lambda true, predicted: float(f1_score(true, predicted, zero_division=0)),
    "matthews": lambda true, predicted: float(matthews_corrcoef(true, predicted)),
    "pearson": _pearson,
    "spearman": _spearman,
    "correlation": lambda true, predicted: (_pearson(true, predicted) + _spearman(true, predicted)) / 2,
}
"""By name, of true and predicted labels, (rows,) each; f1 of the second of two classes."""
