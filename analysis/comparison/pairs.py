"""Every pair of a study's methods, not only new ones against a baseline: paired by seed, corrected by Holm.

Each difference is first minus second, at both methods' tuned rates, with its 95 % Student interval; the
p-values of all pairs and quantities together are corrected by Holm's method (Holm 1979).
"""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd

from analysis.comparison.decisions import EXACT, LEVEL, row_decision, why_undecided
from analysis.comparison.number_text import difference_text, p_text
from analysis.comparison.table import paired_row
from analysis.data.scores import direction
from analysis.data.table import Study
from analysis.statistics import paired
from analysis.statistics.learning import why_not_learning

QUANTITIES = {"tuned_test": "tuned test score", "regret_window": "sensitivity"}
COLUMNS = [
    "quantity",
    "first",
    "second",
    "seeds",
    "difference",
    "low",
    "high",
    "p",
    "p_holm",
    "decision",
    "why",
]


def pairs_table(study: Study) -> pd.DataFrame:
    """One row per quantity and pair of labels that have runs which ended; see COLUMNS.

    `decision` is about the first: better, worse, no difference shown, or no decision possible, and `why` not
    (`analysis.comparison.decisions`). Empty with one label.
    """
    runs = study.runs[study.runs["counted"]]
    of = {label: runs[runs["label"] == label] for label in study.labels}
    of = {label: rows for label, rows in of.items() if len(rows)}
    by_seed = {label: paired.by_seed(rows) for label, rows in of.items()}
    reasons = {label: why_not_learning(rows) for label, rows in of.items()}
    rows = []
    for quantity, (first, second) in itertools.product(QUANTITIES, itertools.combinations(of, 2)):
        row = paired_row(by_seed[first], by_seed[second], quantity)
        why = why_undecided(row["seeds"], {label: reasons[label] for label in (first, second)})
        if why:
            row["p"] = np.nan
        rows.append({"quantity": quantity, "first": first, "second": second, **row, "why": why})
    table = pd.DataFrame(rows, columns=[*COLUMNS[:8], "difference_is", "why"])
    table["p_holm"] = paired.holm(table["p"].to_numpy(dtype=float))
    signs = {"tuned_test": direction(study.runs), "regret_window": -1.0}
    decisions = [row_decision(row, signs[row["quantity"]]) for _, row in table.iterrows()]
    return table.assign(decision=decisions, difference_is=EXACT)[COLUMNS]


def pairs_text(table: pd.DataFrame, names: dict[str, str]) -> pd.DataFrame:
    """The table for a page: the same rows, in words."""
    shown = table.assign(difference_is=EXACT)
    return pd.DataFrame(
        {
            "of": shown["quantity"].map(QUANTITIES),
            "first": shown["first"].map(names),
            "second": shown["second"].map(names),
            "first − second [95 %]": [difference_text(row) for _, row in shown.iterrows()],
            "seeds": shown["seeds"],
            "p": shown["p"].map(p_text),
            "p, Holm": shown["p_holm"].map(p_text),
            "the first is": shown["decision"],
        }
    )


def pairs_note(table: pd.DataFrame) -> str:
    """What the table is, in sentences."""
    if table.empty:
        return "There is no pair: one method has runs that ended."
    shown = int((table["p_holm"] <= LEVEL).sum())
    return (
        f"{len(table)} paired t-tests over seeds, each method at its own tuned rate, corrected together by "
        f"Holm's method: {shown} show{'s' if shown == 1 else ''} a difference. Differences are the "
        "first method's minus the second's; less sensitivity is better."
    )
