"""A study's results as a paper prints them: a row per method, the best marked, and who is worse."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.comparison.decisions import BETTER, WORSE
from analysis.comparison.pairs import pairs_table
from analysis.data.metrics import metric_title
from analysis.data.names import label_name
from analysis.data.scores import direction
from analysis.data.studies import key_of
from analysis.data.table import Study
from analysis.reporting.number_text import number_text, rate_text
from analysis.statistics.intervals import seeds_text
from analysis.statistics.robustness import robustness_table
from analysis.statistics.superlatives import contenders

WORSE_MARK = "*"


@dataclass(frozen=True)
class Figure:
    """A mean with its 95 % interval; low and high are nan with one seed.

    is_best: of all methods that take part in superlatives. is_worse: shown to be worse than the best.
    """

    value: float
    low: float
    high: float
    is_best: bool = False
    is_worse: bool = False

    @property
    def interval(self) -> str:
        """`[0.927, 0.948]`; empty where there is none."""
        return "" if pd.isna(self.low) else f"[{number_text(self.low)}, {number_text(self.high)}]"


@dataclass(frozen=True)
class ResultRow:
    """One label's results; plateau as text, for it may be a lower bound: `≥ 2.50`."""

    label: str
    method: str
    name: str
    rate: str
    score: Figure
    sensitivity: Figure
    plateau: str
    diverged: str
    parameters: str


@dataclass(frozen=True)
class ResultsTable:
    """The rows of a study, what its score is called, and the protocol as a caption."""

    score_title: str
    caption: str
    rows: list[ResultRow]


TITLES = ("method", "rate", "{}", "sensitivity", "plateau", "diverged", "parameters")
"""Of the columns; {} is the score's."""


def results_table(study: Study) -> ResultsTable:
    """The study's table, in the order of its labels."""
    table, pairs = robustness_table(study.runs), pairs_table(study)
    takes_part = contenders(table)
    best: dict[str, str] = {}
    for quantity, sign in (("tuned_test", direction(study.runs)), ("regret_window", -1.0)):
        if len(takes_part) > 1:
            best[quantity] = str(takes_part.loc[(sign * takes_part[quantity]).idxmax(), "label"])
    rows = []
    for row in table.to_dict("records"):
        label, method = str(row["label"]), str(row["method"])
        bound = "" if row["plateau_10_censored"] == "none" else "≥ "
        rows.append(
            ResultRow(
                label, method, label_name(label, method), rate_text(row["best_lr"]),
                _figure(row, "tuned_test", best, pairs), _figure(row, "regret_window", best, pairs),
                bound + number_text(row["plateau_10"]), f"{row['diverged']}/{row['runs']}",
                number_text(row["parameters"]),
            )
        )  # fmt: skip
    return ResultsTable(f"test {metric_title(study.runs)}", caption(study, table), rows)


def _figure(row: dict[str, object], quantity: str, best: dict[str, str], pairs: pd.DataFrame) -> Figure:
    label, first = str(row["label"]), best.get(quantity, "")
    shown = {
        (pair.first, pair.second): pair.decision in (BETTER, WORSE)
        for pair in pairs[pairs["quantity"] == quantity].itertuples()
    }
    is_worse = shown.get((label, first), False) or shown.get((first, label), False)
    value, low, high = (float(str(row[quantity + end])) for end in ("", "_low", "_high"))
    return Figure(value, low, high, label == first, is_worse)


def caption(study: Study, table: pd.DataFrame) -> str:
    """What the table shows and how it was made, in sentences."""
    task, scale, subset = key_of(study)
    rates = sorted(study.runs["lr"].unique())
    name = " ".join(filter(None, (task, subset)))
    seeds = seeds_text(int(table["seeds"].min()), int(table["seeds"].max()))
    sentences = [
        f"Robustness to the learning rate on {name} ({scale}): mean and 95 % Student interval over {seeds}.",
        f"Each method is at its own tuned rate, of {len(rates)} from {rate_text(rates[0])} to "
        f"{rate_text(rates[-1])} the one with the best mean validation score.",
        "Sensitivity is the mean loss of test score within 1.5 decades of that rate, plateau the width in "
        "decades of learning rate within 10 % of the tuned score (≥: the grid ends inside it).",
        f"Best in bold; {WORSE_MARK}: worse than the best (paired t-tests over seeds at 5 %, Holm's "
        f"correction "
        "over all pairs of methods and both quantities).",
    ]
    return " ".join(sentences)
