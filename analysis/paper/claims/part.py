"""A part of a claim: a figure, its interval, what the figure must be, and whether it is."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from analysis.data.table import Study
from analysis.figures.style import NAMES
from analysis.statistics.intervals import mean_interval, seeds_text
from analysis.statistics.learning import MIN_SEEDS, why_not_learning
from analysis.statistics.paired import at_tuned_rates

REPRODUCED, NOT_REPRODUCED, UNDECIDED = "reproduced", "not reproduced", "undecided"

NO_VERDICT = "(no verdict: "
"""How the reason begins that a part's test gets where it decides nothing."""

SAME_SCORE = 0.02
"""Scores within two points count as equal, and one that is lower by less as no worse."""


@dataclass(frozen=True)
class Part:
    """One part of a claim, decided.

    rests_on: methods that have to learn for the part to mean anything.
    """

    claim: str
    part: str
    test: str
    effect: float
    low: float
    high: float
    verdict: str
    records: str
    study: str = ""  # its title, where one study decides
    rests_on: tuple[str, ...] = ()


def above(low: float, high: float, threshold: float) -> str:
    """The claim is that the figure lies above the threshold."""
    return REPRODUCED if low > threshold else NOT_REPRODUCED if high < threshold else UNDECIDED


def within(low: float, high: float, margin: float) -> str:
    """The claim is equivalence: the whole interval within +- margin."""
    if -margin <= low and high <= margin:
        return REPRODUCED
    return NOT_REPRODUCED if low > margin or high < -margin else UNDECIDED


def overall(verdicts: list[str]) -> str:
    """A claim's verdict from its parts'."""
    if NOT_REPRODUCED in verdicts:
        return NOT_REPRODUCED
    return REPRODUCED if verdicts and set(verdicts) == {REPRODUCED} else UNDECIDED


def admitted(parts: list[Part], study: Study) -> list[Part]:
    """The parts, without a verdict where a study cannot give one.

    That is with fewer than three seeds, where a method that the part rests on does not learn (what stays at
    chance is as robust, as early and as good as anything else that does), and where the figure is no number.
    """
    runs = study.runs[study.runs["counted"]]
    seeds = int(runs["seed"].nunique())
    reasons = {str(method): why_not_learning_any(rows) for method, rows in runs.groupby("method")}
    decided = []
    for part in parts:
        whys = [f"{NAMES.get(m, m)} {reasons[m]}" for m in part.rests_on if reasons.get(m)]
        if seeds < MIN_SEEDS:
            whys.append(f"{seeds_text(seeds, seeds)}, and a verdict needs {MIN_SEEDS}")
        if not np.isfinite(part.effect) and NO_VERDICT not in part.test:
            whys.append("no run has a finite value")
        if whys:
            part = replace(part, verdict=UNDECIDED, test=f"{part.test} {NO_VERDICT}{'; '.join(whys)})")
        decided.append(part)
    return decided


def why_not_learning_any(rows: pd.DataFrame) -> str:
    """Why none of one method's labels learns; empty if one does."""
    reasons = [why_not_learning(of_label) for _, of_label in rows.groupby("label")]
    return reasons[0] if all(reasons) else ""


MINUS_LOG = "minus log "


def comparable(study: Study) -> Study:
    """The study with scores of which more is better: of perplexity minus its logarithm."""
    runs, history = study.runs, study.history
    if runs["higher_is_better"].iloc[0]:
        return study
    columns = ["valid", "test", "base_valid", "base_test", "chance"]
    runs = runs.assign(metric=MINUS_LOG + runs["metric"], higher_is_better=True)
    runs[columns] = -np.log(runs[columns])
    return replace(study, runs=runs, history=history.assign(valid=-np.log(history["valid"])))


def describe_records(study: Study, rows: pd.DataFrame) -> str:
    metric = study.runs["metric"].iloc[0]
    unit = f" (score: {metric})" if metric.startswith(MINUS_LOG) else ""
    return f"{study.name}: {len(rows)} runs{unit}"


def paired_difference(first: pd.DataFrame, second: pd.DataFrame) -> tuple[float, float, float]:
    """Test score of one method minus another's, each at its tuned rate, paired by seed."""
    return mean_interval(at_tuned_rates(first, second))
