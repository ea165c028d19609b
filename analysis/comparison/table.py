"""New methods against a baseline, quantity by quantity, paired by seed.

Every difference is new minus baseline with its 95 % Student interval; the p-values of all rows of the
table together are corrected by Holm's method (Holm 1979).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis.comparison.compared import Compared
from analysis.data.scores import direction
from analysis.statistics import paired
from analysis.statistics.curves import Array
from analysis.statistics.intervals import mean_interval

LEVEL = 0.05
BETTER, WORSE, NOT_SHOWN, NO_DECISION = "better", "worse", "no difference shown", "no decision possible"
QUANTITIES = {
    "tuned_test": "tuned test score",
    "regret_window": "sensitivity (mean regret, ±1.5 decades)",
    "plateau_10": "plateau within 10 % [decades]",
    "divergence_rate": "divergence rate",
}


def figures_by_seed(study: Compared) -> dict[str, pd.DataFrame]:
    """label -> `paired.by_seed` of its runs."""
    counted = study.runs[study.runs["counted"]]
    return {label: paired.by_seed(counted[counted["label"] == label]) for label in study.order}


def comparison_table(study: Compared) -> pd.DataFrame:
    """One row per new method and quantity of QUANTITIES.

    `seeds`: pairs. `value`, `baseline_value`: means over those seeds, and `difference` with its interval
    `low` to `high`, in the quantity's unit. `p`: paired t-test, `p_holm`: corrected over all rows.
    `bounds`, `baseline_bounds`: how many of the plateaus are lower bounds. `decision`: see `_decision`.
    """
    by_seed = figures_by_seed(study)
    rows = []
    for label in study.order[1:]:
        for quantity in QUANTITIES:
            row = _paired_row(by_seed[label], by_seed[study.order[0]], quantity)
            rows.append({"label": label, "baseline": study.order[0], "quantity": quantity, **row})
    table = pd.DataFrame(rows)
    table["p_holm"] = paired.holm(table["p"].to_numpy(dtype=float))
    signs = {"tuned_test": direction(study.runs), "regret_window": -1, "plateau_10": 1, "divergence_rate": -1}
    table["decision"] = [_decision(row, signs[row["quantity"]]) for _, row in table.iterrows()]
    return table


def _paired_row(new: pd.DataFrame, base: pd.DataFrame, quantity: str) -> dict[str, float]:
    """Seeds that both have, both means, the difference with its interval, and the p-value."""
    pair = pd.concat([new[quantity], base[quantity]], axis=1, keys=["new", "base"]).dropna()
    count = len(pair)
    differences = _without_rounding(pair["new"].to_numpy(), pair["base"].to_numpy())
    mean, low, high = mean_interval(differences) if count else (np.nan,) * 3
    bounds = [0, 0]
    if quantity == "plateau_10":
        bounds = [int(figures.loc[pair.index, "censored"].sum()) for figures in (new, base)]
    return {
        "seeds": count,
        "value": pair["new"].mean(),
        "baseline_value": pair["base"].mean(),
        "difference": mean,
        "low": low if np.isfinite(low) else np.nan,
        "high": high if np.isfinite(high) else np.nan,
        "p": _p_value(differences),
        "bounds": bounds[0],
        "baseline_bounds": bounds[1],
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


def _decision(row: pd.Series, sign: float) -> str:
    """`better` or `worse` where Holm's p-value is at most 0.05, by the difference's sign.

    Args:
        sign: 1 where more of the quantity is better, else -1.
    """
    if np.isnan(row["p_holm"]):
        return NO_DECISION
    if row["p_holm"] > LEVEL:
        return NOT_SHOWN
    return BETTER if sign * row["difference"] > 0 else WORSE
