"""The tables of a comparison as rows of text."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from analysis.comparison.costs import COSTS
from analysis.comparison.decisions import LEVEL, NO_DECISION
from analysis.comparison.number_text import (
    bound_prefix,
    cost_text,
    difference_text,
    p_text,
    training_mode,
    value_text,
)
from analysis.comparison.table import QUANTITIES
from analysis.statistics.intervals import student_half_width
from analysis.statistics.learning import MIN_SEEDS


@dataclass(frozen=True)
class ComparisonRow:
    """One new method and quantity; figures as text."""

    label: str
    quantity: str
    value: str
    baseline_value: str
    difference: str
    seeds: int
    p: str
    p_holm: str
    decision: str
    why: str


@dataclass(frozen=True)
class CostRow:
    """One method; a cell for each of COSTS, and how it trains."""

    label: str
    cells: list[str]
    mode: str


def comparison_rows(comparison: pd.DataFrame, truncated: set[str]) -> list[ComparisonRow]:
    """The comparison as text.

    Args:
        truncated: the labels whose window of sensitivity the grid cuts off.
    """
    rows = []
    for _, row in comparison.iterrows():
        means = []
        for side, label in (("", row["label"]), ("baseline_", row["baseline"])):
            mark = " †" if row["quantity"] == "regret_window" and label in truncated else ""
            bound = "≥ " if bound_prefix(row, side) else ""
            means.append(f"{bound}{value_text(row, side)}{mark}" if row["seeds"] else "–")
        rows.append(
            ComparisonRow(
                label=row["label"], quantity=QUANTITIES[row["quantity"]],
                value=means[0], baseline_value=means[1], difference=difference_text(row),
                seeds=int(row["seeds"]), p=p_text(row["p"]), p_holm=p_text(row["p_holm"]),
                decision=row["decision"], why=row["why"],
            )
        )  # fmt: skip
    return rows


def cost_rows(costs: pd.DataFrame) -> list[CostRow]:
    """The costs as text, each with its ratio to the baseline."""
    rows = []
    for index, (_, row) in enumerate(costs.iterrows()):
        cells = []
        for name in COSTS:
            ratio = row[f"{name}_ratio"]
            times = "" if not index or pd.isna(ratio) else f" (× {ratio:.3g})"
            cells.append(cost_text(name, row[name]) + times)
        rows.append(CostRow(row["label"], cells, training_mode(row)))
    return rows


def describe_power(comparison: pd.DataFrame) -> str:
    """What the tests can and cannot show with as many seeds as there are."""
    count, rows = int(comparison["seeds"].max()), len(comparison)
    if count < MIN_SEEDS:
        have = "one seed" if count == 1 else f"{count} seeds"
        return (
            f"With {have} there is no verdict: the differences are shown and nothing is concluded. It takes "
            f"{MIN_SEEDS} seeds or, better, 5: the same command with seeds=5."
        )
    alone, first = (student_half_width(1.0, count, LEVEL / tests) for tests in (1, rows))
    return (
        f"With {count} seeds each test is a paired t-test with {count - 1} degrees of freedom. It shows a "
        f"mean difference only where that exceeds {alone:.2g} standard deviations of the seeds' differences, "
        f"and the strongest of the {rows} rows, after Holm's correction over all of them (Holm 1979), "
        f"{first:.2g}; smaller differences it cannot see, so “no difference shown” does not mean “equal”. "
        "The intervals are 95 % for each row alone, not corrected: one may leave 0 out though no difference "
        "is shown. Where every seed differs by the same there is no spread to test against: that counts as "
        "shown unless it is 0. A seed counts where both methods have every run that the quantity needs. "
        "Seeds vary initialisation and data order alone: nothing here speaks of other tasks or models."
        + _undecided(comparison)
    )


def _undecided(comparison: pd.DataFrame) -> str:
    """Why rows have no decision, each reason once."""
    reasons = dict.fromkeys(comparison.loc[comparison["decision"] == NO_DECISION, "why"])
    return "".join(f" No decision is possible where {why}." for why in reasons if why)
