"""What tuning costs, for a report: a table, and sentences on how many trials each method needs."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from analysis.data.names import label_name
from analysis.data.table import Study
from analysis.reporting.number_text import interval_text
from analysis.reporting.text_table import TextTable, table_text
from analysis.statistics.tuning import SHARE, TuningCurve, tuning_curves, tuning_table

TITLES = {
    "best_test": "test score of the best trial",
    "budget": f"trials to {SHARE:.0%} of its own best",
    "budget_best": f"trials to {SHARE:.0%} of the best method's",
    "area": "mean expected score",
}
NOTE = (
    f"{SHARE:.0%} is of what the best trial of all, by validation, gains over chance on test. The mean "
    "expected score is over all numbers of trials that every method has. How these are estimated, and how "
    "often their intervals hold: docs/spaces.md."
)


def tuning_section(study: Study) -> dict[str, object]:
    """Values for a template's section on tuning, and `tuning`, the table itself; empty without trials."""
    curves = tuning_curves(study)
    if not curves:
        return {"tuning": pd.DataFrame()}
    table = tuning_table(curves)
    names = {label: label_name(label, method) for label, method in study.method_of.items()}
    return {
        "tuning": table,
        "tuning_table": _shown(table, names),
        "tuning_sentence": sentence(curves, names, study) + pruning_sentence(names, study),
        "tuning_note": NOTE,
    }


def sentence(curves: Mapping[str, TuningCurve], names: Mapping[str, str], study: Study) -> str:
    """`ETHER needs 2 trials [1, 3], LoRA 5 [4, 6].`"""
    kind = "learning rates of the grid" if study.trials is None else f"{study.trials.sampler} trials"
    parts = []
    for label, curve in curves.items():
        value, low, high = curve.budget()
        if math.isnan(value):
            parts.append(f"{names[label]} gains nothing over chance")
            continue
        parts.append(f"{names[label]} needs {budget_text(value, low, high)}")
    return (
        f"To come within {1 - SHARE:.0%} of what its own best trial gains over chance, in expectation, "
        f"{'; '.join(parts)} {kind}."
    )


def pruning_sentence(names: Mapping[str, str], study: Study) -> str:
    """` By pruner=halving, 36 of 40 runs of ETHER were pruned, and all of them took the steps of ...`"""
    if study.trials is None or not study.trials.pruned:
        return ""
    last = study.history.groupby("run_id")["step"].max()
    parts = []
    for label in study.labels:
        rows = study.of(label)
        pruned = rows["status"] == "pruned"
        shares = (rows["run_id"].map(last) / rows["steps"]).where(pruned, 1.0)
        parts.append(
            f"{int(pruned.sum())} of {len(rows)} runs of {names[label]} were pruned, and all of them took "
            f"the steps of {shares[rows['status'] != 'failed'].sum():.1f} whole ones"
        )
    return f" By pruner={study.trials.pruner}, {'; '.join(parts)}."


def budget_text(value: float, low: float, high: float) -> str:
    """`2 [1, 3]` trials, `2` without an interval, `not reached`, or `–` of what gains nothing."""
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "not reached"
    return f"{value:.0f}" if math.isnan(low) else f"{value:.0f} [{_count(low)}, {_count(high)}]"


def _count(value: float) -> str:
    return f"{value:.0f}" if math.isfinite(value) else "more"


def _shown(table: pd.DataFrame, names: Mapping[str, str]) -> TextTable:
    rows = []
    for _, row in table.iterrows():
        texts: dict[str, object] = {"method": names[row["label"]], "trials": row["trials"]}
        for name, title in TITLES.items():
            value, low, high = (row[f"{name}{end}"] for end in ("", "_low", "_high"))
            if not name.startswith("budget"):
                texts[title] = interval_text(row, name)
            else:
                texts[title] = budget_text(value, low, high)
        rows.append(texts)
    return table_text(pd.DataFrame(rows))
