"""The metrics of a study: the primary one, and those beside it that its task names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from analysis.data.names import metric_name
from study.storage.rows import LOWER_IS_BETTER, METRIC, TRADE_OFF

REAL, REPEATED, UNTOUCHED = "real", "repeated", "untouched"
"""What may stand in the place of what a run generates: `metric.real_NAME` is the metric NAME of real data,
`repeated_NAME` of what was trained on, given out again, `untouched_NAME` of what the base model generates."""


NOT_NEGATIVE = (0.0, np.inf)
RANGES = {
    "accuracy": (0.0, 1.0), "caption_accuracy": (0.0, 1.0), "exact_match": (0.0, 1.0), "f1": (0.0, 1.0),
    "fidelity": (0.0, 1.0), "frechet_distance": NOT_NEGATIVE, "matthews": (-1.0, 1.0), "mean_iou": (0.0, 1.0),
    "pearson": (-1.0, 1.0), "perplexity": (1.0, np.inf), "pixel_accuracy": (0.0, 1.0),
    "spearman": (-1.0, 1.0),
}  # fmt: skip
"""What a metric can be; of others nothing is known. An interval may reach beyond, its band in a figure not.
"""


@dataclass(frozen=True)
class FurtherMetric:
    """A metric beside the primary one.

    column: its column in `runs` (on test) and in `history` (on validation).
    """

    column: str
    higher_is_better: bool

    @property
    def name(self) -> str:
        return self.column.removeprefix(METRIC)

    @property
    def title(self) -> str:
        """In words, and the direction where it is the less usual one."""
        words = metric_name(self.name)
        return words if self.higher_is_better else f"{words} (lower is better)"


def metric_title(runs: pd.DataFrame) -> str:
    """The primary metric in words, and its direction where that is the less usual one."""
    name = metric_name(str(runs["metric"].iloc[0]))
    return name if bool(runs["higher_is_better"].iloc[0]) else f"{name} (lower is better)"


def range_of(metric: str) -> tuple[float, float]:
    """The least and the most that a metric can be, infinite where it is not known."""
    return RANGES.get(metric, (-np.inf, np.inf))


def further_metrics(runs: pd.DataFrame) -> list[FurtherMetric]:
    """What the runs were measured by beside the primary metric, by name, but of real data and the like."""
    named = runs.get(LOWER_IS_BETTER, pd.Series(dtype=object)).dropna()
    lower = set(",".join(map(str, named.unique())).split(","))
    others = tuple(f"{METRIC}{kind}_" for kind in (REAL, REPEATED, UNTOUCHED))
    columns = sorted(c for c in runs.columns if c.startswith(METRIC) and not c.startswith(others))
    return [
        FurtherMetric(column, column.removeprefix(METRIC) not in lower)
        for column in columns
        if np.isfinite(runs[column].astype(float)).any()
    ]


def trade_off(runs: pd.DataFrame) -> list[FurtherMetric]:
    """The two further metrics that the primary one is the harmonic mean of; none if its task names none."""
    named = set(runs.get(TRADE_OFF, pd.Series(dtype=object)).dropna()) - {""}
    if len(named) != 1:
        return []
    by_name = {metric.name: metric for metric in further_metrics(runs)}
    pair = [by_name[name] for name in str(named.pop()).split(",") if name in by_name]
    return pair if len(pair) == 2 else []


def in_place(table: pd.DataFrame, kind: str, metric: str) -> float:
    """The mean of a metric over a table's rows, with REAL, REPEATED or UNTOUCHED in the place of what runs
    generate; nan where it was not measured."""
    column = f"{METRIC}{kind}_{metric}"
    return float(table[column].astype(float).mean()) if column in table else np.nan
