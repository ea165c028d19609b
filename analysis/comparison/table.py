"""New methods against a baseline, quantity by quantity, paired by seed.

Every difference is new minus baseline with its 95 % Student interval; the p-values of all rows of the
table together are corrected by Holm's method (Holm 1979).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from analysis.comparison import decisions
from analysis.comparison.compared import Compared
from analysis.comparison.decisions import EXACT, UNKNOWN
from analysis.data.scores import direction
from analysis.statistics import paired
from analysis.statistics.curves import Array
from analysis.statistics.intervals import mean_interval
from analysis.statistics.learning import why_not_learning

QUANTITIES = {
    "tuned_test": "tuned test score",
    "regret_window": "sensitivity (mean regret, ±1.5 decades)",
    "plateau_10": "plateau within 10 %, mean of the seeds' own [decades]",
    "divergence_rate": "divergence rate",
}


def figures_by_seed(study: Compared) -> dict[str, pd.DataFrame]:
    """label -> `paired.by_seed` of its runs."""
    counted = study.runs[study.runs["counted"]]
    return {label: paired.by_seed(counted[counted["label"] == label]) for label in study.order}


def not_learning(study: Compared) -> dict[str, str]:
    """label -> why it does not learn (`analysis.statistics.learning`); empty if it does, or no run ended."""
    counted = study.runs[study.runs["counted"]]
    by_label = {label: counted[counted["label"] == label] for label in study.order}
    return {label: why_not_learning(rows) if len(rows) else "" for label, rows in by_label.items()}


def comparison_table(study: Compared) -> pd.DataFrame:
    """One row per new method and quantity of QUANTITIES.

    `seeds`: pairs. `value`, `baseline_value`: means over those seeds, and `difference` with its interval
    `low` to `high`, in the quantity's unit. `p`: paired t-test, nan where nothing can be decided; `p_holm`:
    corrected over all rows. `bounds`, `baseline_bounds`: how many of the plateaus are lower bounds, and
    `difference_is`: what that makes of the difference (`decisions.plateau_difference`), which is empty where
    it is unknown. `decision`: see `decisions.row_decision`, and `why` none is possible.
    """
    by_seed, reasons = figures_by_seed(study), not_learning(study)
    base = study.order[0]
    rows = []
    for label in study.order[1:]:
        not_learning_pair = {study.names[name]: reasons[name] for name in (label, base)}
        for quantity in QUANTITIES:
            row = paired_row(by_seed[label], by_seed[base], quantity)
            why = decisions.why_undecided(row["seeds"], not_learning_pair)
            if not why and row["difference_is"] == UNKNOWN:
                why = decisions.BOUNDS_SAY_NOTHING
            if why:
                row["p"] = np.nan
            rows.append({"label": label, "baseline": base, "quantity": quantity, **row, "why": why})
    table = pd.DataFrame(rows)
    table["p_holm"] = paired.holm(table["p"].to_numpy(dtype=float))
    signs = {"tuned_test": direction(study.runs), "regret_window": -1, "plateau_10": 1, "divergence_rate": -1}
    table["decision"] = [decisions.row_decision(row, signs[row["quantity"]]) for _, row in table.iterrows()]
    undecided = (table["decision"] == decisions.NO_DECISION) & (table["why"] == "")
    return table.assign(why=table["why"].mask(undecided, decisions.BOUNDS_SAY_NOTHING))


def paired_row(new: pd.DataFrame, base: pd.DataFrame, quantity: str) -> dict[str, Any]:
    """Seeds that both have, both means, the difference with its interval, and the p-value."""
    pair = pd.concat([new[quantity], base[quantity]], axis=1, keys=["new", "base"]).dropna()
    count = len(pair)
    differences = _without_rounding(pair["new"].to_numpy(), pair["base"].to_numpy())
    bounds, difference_is = [0, 0], EXACT
    if quantity == "plateau_10":
        censored = [figures.loc[pair.index, "censored"].to_numpy(dtype=bool) for figures in (new, base)]
        bounds = [int(each.sum()) for each in censored]
        difference_is = decisions.plateau_difference(
            pair["new"].to_numpy(), pair["base"].to_numpy(), *censored
        )
    known = count and difference_is != UNKNOWN
    mean, low, high = mean_interval(differences) if known else (np.nan,) * 3
    return {
        "seeds": count,
        "value": pair["new"].mean(),
        "baseline_value": pair["base"].mean(),
        "difference": mean,
        "low": low if np.isfinite(low) else np.nan,
        "high": high if np.isfinite(high) else np.nan,
        "p": _p_value(differences) if known else np.nan,
        "bounds": bounds[0],
        "baseline_bounds": bounds[1],
        "difference_is": difference_is,
    }


def _without_rounding(new: Array, base: Array) -> Array:
    """new - base, (n,); 0 where they differ by rounding alone, and constant where that alone varies."""
    differences = np.where(np.isclose(new, base, rtol=1e-9, atol=1e-12), 0.0, new - base)
    if len(differences) and np.ptp(differences) <= 1e-9 * np.abs(differences).max():
        return np.full_like(differences, differences[0])
    return differences


def _p_value(differences: Array) -> float:
    """Paired t-test of (n,) differences; nan with fewer than two.

    Where all are equal there is no spread to test against: 0 if they are not zero, else 1.
    """
    if len(differences) < 2:
        return np.nan
    if np.ptp(differences) == 0:
        return float(differences[0] == 0)
    return paired.compare(differences, 0.0).p_different
