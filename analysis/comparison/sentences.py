"""A comparison in words: three sentences per new method.

Sentences are to be pasted, so each says alone what was measured, with its interval, and admits when no
difference was shown.
"""

from __future__ import annotations

import math

import pandas as pd

from analysis.comparison.costs import COSTS
from analysis.comparison.decisions import (
    BETTER,
    LESS_ROBUST,
    MIXED,
    MORE_ROBUST,
    NO_DECISION,
    NOT_SHOWN,
    UNKNOWN,
    WORSE,
    robustness_decision,
)
from analysis.comparison.number_text import (
    bound_prefix,
    cost_text,
    difference_text,
    digits_of,
    training_mode,
    value_text,
)
from analysis.data.scores import direction

SAME, SAME_TIME = 1.10, 1.25
"""Ratios to the baseline that still count as the same cost; times of packs vary more than counts."""

ROBUST = {
    MORE_ROBUST: "{new} is more robust to the learning rate than {base}",
    LESS_ROBUST: "{new} is less robust to the learning rate than {base}",
    MIXED: "{new} is more robust to the learning rate than {base} in one respect and less in another (mixed)",
    NOT_SHOWN: "no difference in robustness to the learning rate is shown between {new} and {base}",
    NO_DECISION: "no decision is possible on the robustness of {new} and {base} to the learning rate",
}
COST = {
    "cheaper": "{new} is cheaper than {base}",
    "more expensive": "{new} is more expensive than {base}",
    MIXED: "{new} is cheaper than {base} in one respect and more expensive in another (mixed)",
    "same": "{new} costs about as much as {base}",
    NO_DECISION: "the costs of {new} and {base} cannot be compared",
}


def sentences(
    names: dict[str, str], comparison: pd.DataFrame, costs: pd.DataFrame, runs: pd.DataFrame
) -> pd.DataFrame:
    """Columns label, about (score, robustness, cost), decision, sentence: three rows per new method.

    Args:
        names: label -> name as shown.
        comparison, costs: of `comparison_table` and `costs_table`.
        runs: the study's runs.
    """
    sentence_rows = []
    costs = costs.set_index("label")
    for label, rows in comparison.groupby("label", sort=False):
        base = rows["baseline"].iloc[0]
        pair = {"new": names[str(label)], "base": names[base]}
        by_quantity = rows.set_index("quantity")
        verdicts = {
            "score": _score(by_quantity.loc["tuned_test"], pair, runs),
            "robustness": _robustness(by_quantity.drop("tuned_test"), pair),
            "cost": _cost(costs.loc[label], costs.loc[base], pair),
        }
        sentence_rows += [(label, about, decision, text) for about, (decision, text) in verdicts.items()]
    return pd.DataFrame(sentence_rows, columns=["label", "about", "decision", "sentence"])


def _score(row: pd.Series, pair: dict[str, str], runs: pd.DataFrame) -> tuple[str, str]:
    decision, count, why = str(row["decision"]), int(row["seeds"]), str(row["why"])
    new, base = pair["new"], pair["base"]
    if not count:
        all_failed = not ((runs["label"] == row["label"]) & runs["counted"]).any()
        why = "every run failed" if all_failed else f"no seed has a score for both it and {base}"
        return decision, f"{new}'s score cannot be compared, for {why}: {NO_DECISION}."
    metric = f"test {runs['metric'].iloc[0]}{'' if direction(runs) > 0 else ', lower is better'}"
    note = f"{metric}, {_seeds(count)}"
    value, other, digits = value_text(row), value_text(row, "baseline_"), digits_of(row)
    if decision in (BETTER, WORSE):
        sign, side = (1, "above") if row["difference"] > 0 else (-1, "below")
        low, high = sorted((sign * row["low"], sign * row["high"]))
        gap = f"{abs(row['difference']):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        return (
            decision,
            f"{new} scores {value} ({note}), {gap} {side} {base} at tuned learning rates ({decision}).",
        )
    gap = f"a difference of {difference_text(row)} at tuned learning rates"
    text = f"{new} scores {value} and {base} {other} ({note}), {gap}: {decision}"
    return decision, f"{text}{f', for {why}' if why else ''}."


def _robustness(rows: pd.DataFrame, pair: dict[str, str]) -> tuple[str, str]:
    """Sensitivity first, then plateau and divergence, whatever could be decided."""
    decision = robustness_decision(rows["decision"].to_dict())
    clauses = [
        _quantity_clause(rows.loc["regret_window"], "sensitivity", ""),
        _quantity_clause(rows.loc["plateau_10"], "plateau within 10 %", " decades"),
        _quantity_clause(rows.loc["divergence_rate"], "diverged runs", " %", 100),
    ]
    why = rows.loc["regret_window", "why"]
    reason = f", for {why}" if decision == NO_DECISION and why else ""
    text = f"{ROBUST[decision].format(**pair)}{reason}: {'; '.join(clauses)}."
    return decision, _capitalise(text, pair)


def _quantity_clause(row: pd.Series, what: str, unit: str, times: float = 1) -> str:
    """`plateau within 10 % at least 3.1 against 2.0 decades (at least +1.1, better)`."""
    if not row["seeds"]:
        return f"{what} on no common seed ({row['decision']})"
    row = row.copy()
    row[_FIGURES] = row[_FIGURES].astype(float) * times
    new, base = (bound_prefix(row, side) + value_text(row, side) for side in ("", "baseline_"))
    difference = "not compared" if row["difference_is"] == UNKNOWN else difference_text(row)
    return f"{what} {new} against {base}{unit} ({difference}, {row['decision']})"


_FIGURES = ["value", "baseline_value", "difference", "low", "high"]


def _cost(new: pd.Series, base: pd.Series, pair: dict[str, str]) -> tuple[str, str]:
    decision = cost_decision({name: new[f"{name}_ratio"] for name in COSTS})
    clauses = [
        _cost_clause(name, new, base) for name in COSTS if pd.notna(new[name]) and pd.notna(base[name])
    ]
    text = COST[decision].format(**pair) + (": " if clauses else "") + ", ".join(clauses)
    if new["unpackable"] or base["unpackable"]:
        modes = [f"{pair[role]} trains {training_mode(row)}" for role, row in (("new", new), ("base", base))]
        text += f"; {', '.join(modes)}"
    return decision, _capitalise(text + ".", pair)


def _cost_clause(name: str, new: pd.Series, base: pd.Series) -> str:
    """`trained parameters 50 against 100 (0.5 times)`."""
    ratio = new[f"{name}_ratio"]
    if name == "step_seconds" and new["device"] != base["device"]:
        comparison = "on other devices, not compared"
    elif pd.isna(ratio):
        comparison = "not compared"
    else:
        comparison = "the same" if f"{ratio:.3g}" == "1" else f"{ratio:.3g} times"
    what, _, unit = COSTS[name].removesuffix("]").partition(" [")
    values = f"{cost_text(name, new[name])} against {cost_text(name, base[name])}"
    return f"{what} {values}{' ' if unit else ''}{unit} ({comparison})"


def cost_decision(ratios: dict[str, float]) -> str:
    """`cheaper` if any ratio to the baseline is clearly below 1, none above, and so on; nan is left out."""
    known = {name: ratio for name, ratio in ratios.items() if not math.isnan(ratio)}
    tolerance = {name: SAME_TIME if name == "step_seconds" else SAME for name in known}
    less = any(ratio < 1 / tolerance[name] for name, ratio in known.items())
    more = any(ratio > tolerance[name] for name, ratio in known.items())
    if less or more:
        return MIXED if less and more else "cheaper" if less else "more expensive"
    return "same" if known else NO_DECISION


def _capitalise(text: str, pair: dict[str, str]) -> str:
    """A capital at the start, unless a method's name stands there."""
    return text if text.startswith(pair["new"]) else text[0].upper() + text[1:]


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"
