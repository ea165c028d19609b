"""A comparison's records and tables: new methods beside a baseline, paired by seed, and what they cost.

Every difference is new minus baseline with its 95 % Student interval; the p-values of all rows of the
table together are corrected by Holm's method (Holm 1979).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.data.table import AnalysisError, Study, load
from analysis.figures.style import looks
from analysis.statistics import paired
from analysis.statistics.robustness import Array
from study.errors import UsageError
from study.storage.comparison_file import Cost, read_comparison

LEVEL = 0.05
BETTER, WORSE, NOT_SHOWN, NO_DECISION = "better", "worse", "no difference shown", "no decision possible"
QUANTITIES = {
    "tuned_test": "tuned test score",
    "regret_window": "sensitivity (mean regret, ±1.5 decades)",
    "plateau_10": "plateau within 10 % [decades]",
    "divergence_rate": "divergence rate",
}
COSTS = {
    "parameters": "trained parameters",
    "step_seconds": "seconds per step and run",
    "saved_mb": "memory held for backward [MB]",
    "adapter_bytes": "adapter file [kB]",
}


@dataclass(frozen=True)
class Compared(Study):
    """A study under the labels of compare.json.

    order: the labels, baseline first. costs: by label.
    command: what made it.
    """

    order: list[str]
    costs: Mapping[str, Cost]
    command: str

    @property
    def method_of(self) -> dict[str, str]:
        """As in Study; a label that does not begin with its method's name stands for itself."""
        return {
            label: method if label.startswith(method) else label
            for label, method in super().method_of.items()
        }

    @property
    def names(self) -> dict[str, str]:
        """label -> name as figures and sentences show it."""
        return {label: look.name for label, look in looks(self.labels, self.method_of).items()}


def read(folder: Path) -> Compared:
    """The study in `folder` with the labels of its compare.json; runs without one are left out.

    Raises:
        AnalysisError: if tables or compare.json are missing, damaged or at odds with each other.
    """
    study = load(folder)
    try:
        comparison = read_comparison(folder)
    except UsageError as error:
        raise AnalysisError(str(error)) from None
    order, labels = list(comparison.order), comparison.labels
    runs = study.runs[study.runs["run_id"].isin(labels.keys())].copy()
    runs["label"] = runs["run_id"].map(labels)
    runs["place"] = runs["label"].map({label: place for place, label in enumerate(order)}).astype("int64")
    absentees = [label for label in order if label not in set(runs["label"])]
    if absentees:
        raise AnalysisError(
            f"{folder}/runs.parquet has no run of {', '.join(absentees)}; run the command again: "
            f"{comparison.command or 'python -m study.compare'}"
        )
    twice = runs[runs.duplicated(["label", "lr", "seed"])]
    if len(twice):
        first = twice.iloc[0]
        raise AnalysisError(
            f"{folder}/compare.json calls two runs {first['label']} with lr={first['lr']:g} "
            f"seed={first['seed']}"
        )
    if not (runs["counted"] & (runs["label"] == order[0])).any():
        raise AnalysisError(f"every run of the baseline {order[0]} failed; see the reasons in runs.parquet")
    history, layers = (table[table["run_id"].isin(runs["run_id"])] for table in (study.history, study.layers))
    return Compared(study.name, runs, history, layers, order, comparison.costs, comparison.command)


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
    higher = bool(study.runs["higher_is_better"].iloc[0])
    rows = []
    for label in study.order[1:]:
        for quantity in QUANTITIES:
            row = _paired_row(by_seed[label], by_seed[study.order[0]], quantity)
            rows.append({"label": label, "baseline": study.order[0], "quantity": quantity, **row})
    table = pd.DataFrame(rows)
    table["p_holm"] = paired.holm(table["p"].to_numpy(dtype=float))
    good = {"tuned_test": 1 if higher else -1, "regret_window": -1, "plateau_10": 1, "divergence_rate": -1}
    table["decision"] = [_decision(row, good[row["quantity"]]) for _, row in table.iterrows()]
    return table


def _paired_row(new: pd.DataFrame, base: pd.DataFrame, quantity: str) -> dict[str, Any]:
    """Seeds that both have, both means, the difference with its interval, and the p-value."""
    pair = pd.concat([new[quantity], base[quantity]], axis=1, keys=["new", "base"]).dropna()
    count = len(pair)
    differences = _without_rounding(pair["new"].to_numpy(), pair["base"].to_numpy())
    mean, low, high = paired.mean_interval(differences) if count else (np.nan,) * 3
    is_plateau = quantity == "plateau_10"
    bounds = [int(t.loc[pair.index, "censored"].sum()) if is_plateau else 0 for t in (new, base)]
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


def _decision(row: pd.Series, good: int) -> str:
    """`better` or `worse` where Holm's p-value is at most 0.05, by the difference's sign."""
    if np.isnan(row["p_holm"]):
        return NO_DECISION
    if row["p_holm"] > LEVEL:
        return NOT_SHOWN
    return BETTER if good * row["difference"] > 0 else WORSE


def costs_table(study: Compared) -> pd.DataFrame:
    """One row per label: the columns of COSTS, each with its ratio to the baseline, and how it trains.

    Times of runs on different devices are not compared: their ratio is nan.
    """
    rows = []
    for label in study.order:
        own, cost = study.of(label), study.costs.get(label, Cost())
        own = own[own["counted"]]
        devices = ", ".join(sorted({str(d) for d in own["device"]}))
        rows.append(
            {"label": label, "parameters": own["parameters"].mean(),
             "step_seconds": own["step_seconds"].mean(), "saved_mb": cost.saved_mb,
             "adapter_bytes": cost.adapter_bytes,
             "packs": "one by one" if cost.unpackable else "in packs",
             "unpackable": cost.unpackable, "device": devices}
        )  # fmt: skip
    table = pd.DataFrame(rows)
    for name in COSTS:
        table[name] = table[name].astype(float)
        table[f"{name}_ratio"] = table[name] / (table[name].iloc[0] or np.nan)
    table.loc[table["device"] != table["device"].iloc[0], "step_seconds_ratio"] = np.nan
    return table


def pareto_front(parameters: Array, goodness: Array) -> NDArray[np.bool_]:
    """Which of n points no other dominates: (n,), (n,) -> (n,); fewer parameters and more good win.

    A point dominates another if it is nowhere worse and somewhere better; nan is never on the front.
    """
    fewer = parameters[:, None] <= parameters
    better = goodness[:, None] >= goodness
    strict = (parameters[:, None] < parameters) | (goodness[:, None] > goodness)
    return ~(fewer & better & strict).any(0) & np.isfinite(parameters) & np.isfinite(goodness)


def pareto_points(
    by_seed: dict[str, pd.DataFrame], sizes: pd.Series, quantity: str, good: float
) -> pd.DataFrame:
    """label, parameters, mean over seeds with Student interval (nan with one seed), optimal."""
    rows = []
    for label, table in by_seed.items():
        values = table[quantity].dropna().to_numpy(dtype=float)
        mean, low, high = paired.mean_interval(values) if len(values) else (np.nan,) * 3
        rows.append((quantity, label, sizes[label], len(values), mean, low, high))
    columns = ["quantity", "label", "parameters", "seeds", "value", "low", "high"]
    points = pd.DataFrame(rows, columns=columns).replace([np.inf, -np.inf], np.nan)
    optimal = pareto_front(points["parameters"].to_numpy(float), good * points["value"].to_numpy(float))
    return points.assign(optimal=optimal)
