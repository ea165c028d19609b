"""A comparison in words: three sentences per new method, and its tables as text.

Sentences are to be pasted, so each says alone what was measured, with its interval, and admits when no
difference was shown.
"""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
from scipy.stats import t as student

from analysis.comparison.numbers import BETTER, COSTS, LEVEL, NO_DECISION, NOT_SHOWN, QUANTITIES, WORSE

SAME, SAME_TIME = 1.10, 1.25
"""Ratios to the baseline that still count as the same cost; times of packs vary more than counts."""

MIXED = "mixed"
ROBUST = {
    "more robust": "{new} is more robust to the learning rate than {base}",
    "less robust": "{new} is less robust to the learning rate than {base}",
    MIXED: "{new} is more robust to the learning rate than {base} in one respect and less in another (mixed)",
    NOT_SHOWN: "no difference in robustness to the learning rate is shown between {new} and {base}",
    NO_DECISION: "no decision is possible on the robustness of {new} and {base} to the learning rate",
}
DEAR = {
    "cheaper": "{new} is cheaper than {base}",
    "dearer": "{new} is dearer than {base}",
    MIXED: "{new} is cheaper than {base} in one respect and dearer in another (mixed)",
    "same": "{new} costs about as much as {base}",
    NO_DECISION: "the costs of {new} and {base} cannot be compared",
}


def sentences(
    names: dict[str, str], comparison: pd.DataFrame, costs: pd.DataFrame, runs: pd.DataFrame
) -> pd.DataFrame:
    """Columns label, about (score, robustness, cost), decision, sentence: three rows per new method.

    Args:
        names: label -> name as shown.
        comparison, costs: `comparison.comparison_table` and `costs_table`.
        runs: the study's runs.
    """
    found = []
    costs = costs.set_index("label")
    for label, rows in comparison.groupby("label", sort=False):
        base = rows["baseline"].iloc[0]
        pair = {"new": names[str(label)], "base": names[base]}
        own = rows.set_index("quantity")
        said = {
            "score": _score(own.loc["tuned_test"], pair, runs),
            "robustness": _robustness(own.drop("tuned_test"), pair),
            "cost": _cost(costs.loc[label], costs.loc[base], pair),
        }
        found += [(label, about, decision, text) for about, (decision, text) in said.items()]
    return pd.DataFrame(found, columns=["label", "about", "decision", "sentence"])


def _score(row: pd.Series, pair: dict[str, str], runs: pd.DataFrame) -> tuple[str, str]:
    decision, count = str(row["decision"]), int(row["seeds"])
    new, base = pair["new"], pair["base"]
    if not count:
        own = runs[(runs["label"] == row["label"]) & runs["counted"]]
        why = "every run failed" if own.empty else f"no seed has a score for both it and {base}"
        return decision, f"{new}'s score cannot be compared, for {why}: {NO_DECISION}."
    higher = bool(runs["higher_is_better"].iloc[0])
    metric = f"test {runs['metric'].iloc[0]}{'' if higher else ', lower is better'}"
    ended = runs[runs["counted"]]
    hopeless = (ended["status"] == "diverged").groupby(ended["label"]).all()
    lost = [pair[role] for role in ("new", "base") if hopeless[row["label" if role == "new" else "baseline"]]]
    note = f"{metric}, {_seeds(count)}" + "".join(f"; every run of {name} diverged" for name in lost)
    value, other, digits = _value(row), _value(row, "baseline_"), _digits(row)
    if decision in (BETTER, WORSE):
        sign, side = (1, "above") if row["difference"] > 0 else (-1, "below")
        low, high = sorted((sign * row["low"], sign * row["high"]))
        gap = f"{abs(row['difference']):.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"
        return (
            decision,
            f"{new} scores {value} ({note}), {gap} {side} {base} at tuned learning rates ({decision}).",
        )
    gap = f"a difference of {_difference(row)} at tuned learning rates"
    return decision, f"{new} scores {value} and {base} {other} ({note}), {gap}: {decision}."


def _robustness(rows: pd.DataFrame, pair: dict[str, str]) -> tuple[str, str]:
    """Of sensitivity, plateau and divergence, whatever could be decided."""
    decision = robustness_decision(list(rows["decision"]))
    said = [
        _respect(rows.loc["regret_window"], "sensitivity", ""),
        _respect(rows.loc["plateau_10"], "plateau within 10 %", " decades"),
        _respect(rows.loc["divergence_rate"], "diverged runs", " %", 100),
    ]
    text = f"{ROBUST[decision].format(**pair)}: {'; '.join(said)}."
    return decision, _capital(text, pair)


def robustness_decision(decisions: list[str]) -> str:
    """`more robust` if any is better and none worse, the mirror image, `mixed` if both; else neither."""
    better, worse = BETTER in decisions, WORSE in decisions
    if better or worse:
        return MIXED if better and worse else "more robust" if better else "less robust"
    return NOT_SHOWN if NOT_SHOWN in decisions else NO_DECISION


def _respect(row: pd.Series, what: str, unit: str, times: float = 1) -> str:
    """`plateau within 10 % 3.1 against at least 2.0 decades (+1.1 [+0.9, +1.3], better)`."""
    if not row["seeds"]:
        return f"{what} on no common seed ({row['decision']})"
    row = row.copy()
    row[_FIGURES] = row[_FIGURES].astype(float) * times
    new, base = (_bound(row, side) + _value(row, side) for side in ("", "baseline_"))
    return f"{what} {new} against {base}{unit} ({_difference(row)}, {row['decision']})"


_FIGURES = ["value", "baseline_value", "difference", "low", "high"]


def _cost(new: pd.Series, base: pd.Series, pair: dict[str, str]) -> tuple[str, str]:
    decision = cost_decision({name: new[f"{name}_ratio"] for name in COSTS})
    said = []
    for name, title in COSTS.items():
        if pd.notna(new[name]) and pd.notna(base[name]):
            ratio = new[f"{name}_ratio"]
            times = "not compared" if pd.isna(ratio) else f"{ratio:.3g} times"
            times = "the same" if times == "1 times" else times
            if name == "step_seconds" and new["device"] != base["device"]:
                times = "on other devices, not compared"
            what, _, unit = title.removesuffix("]").partition(" [")
            values = f"{_cost_text(name, new[name])} against {_cost_text(name, base[name])}"
            said.append(f"{what} {values}{' ' if unit else ''}{unit} ({times})")
    text = DEAR[decision].format(**pair) + (": " if said else "") + ", ".join(said)
    if new["unpackable"] or base["unpackable"]:
        ways = [f"{pair[role]} trains {_way(each)}" for role, each in (("new", new), ("base", base))]
        text += f"; {', '.join(ways)}"
    return decision, _capital(text + ".", pair)


def cost_decision(ratios: dict[str, float]) -> str:
    """`cheaper` if any ratio to the baseline is clearly below 1, none above, and so on; nan is left out."""
    known = {name: ratio for name, ratio in ratios.items() if not math.isnan(ratio)}
    edge = {name: SAME_TIME if name == "step_seconds" else SAME for name in known}
    less = any(ratio < 1 / edge[name] for name, ratio in known.items())
    more = any(ratio > edge[name] for name, ratio in known.items())
    if less or more:
        return MIXED if less and more else "cheaper" if less else "dearer"
    return "same" if known else NO_DECISION


def _way(row: pd.Series) -> str:
    """`one by one (reason)`; the reason without what would end the sentence."""
    reason = " ".join(str(row["unpackable"]).split()).split(". ")[0].rstrip(".")
    return f"{row['packs']} ({reason})" if reason else str(row["packs"])


def _cost_text(name: str, value: float) -> str:
    if pd.isna(value):
        return "–"
    if name == "adapter_bytes":
        value /= 1000
    return f"{value:,.0f}" if name == "parameters" or value >= 1000 else f"{value:.3g}"


def _capital(text: str, pair: dict[str, str]) -> str:
    """A capital at the start, unless a method's name stands there."""
    return text if text.startswith(pair["new"]) else text[0].upper() + text[1:]


def _seeds(count: int) -> str:
    return "one seed" if count == 1 else f"{count} seeds"


def _bound(row: pd.Series, side: str) -> str:
    return "at least " if row["baseline_bounds" if side else "bounds"] else ""


def _digits(row: pd.Series) -> int:
    """Decimals that show the interval's half width, or the difference without one, to two figures."""
    size = (row["high"] - row["low"]) / 2
    size = size if size > 1e-12 else abs(row["difference"])
    return min(6, max(0, 1 - math.floor(math.log10(size)))) if size > 1e-12 else 3


def _value(row: pd.Series, side: str = "") -> str:
    value = row[f"{side}value"]
    return f"{value:.3g}" if row["difference"] == row["low"] == row["high"] else f"{value:.{_digits(row)}f}"


def _difference(row: pd.Series) -> str:
    """`+0.021 [+0.011, +0.031]`; without an interval where there is none; `–` without a pair."""
    if pd.isna(row["difference"]):
        return "–"
    if row["low"] == row["high"]:
        return f"{row['difference']:+.3g} for every seed" if row["difference"] else "0 for every seed"
    digits = _digits(row)
    interval = "" if pd.isna(row["low"]) else f" [{row['low']:+.{digits}f}, {row['high']:+.{digits}f}]"
    return f"{row['difference']:+.{digits}f}{interval}"


def _p_text(p: float) -> str:
    """0 is no test's result: all differences are equal and not zero."""
    return "–" if pd.isna(p) else "no spread" if p == 0 else "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def comparison_rows(comparison: pd.DataFrame, cut: set[str]) -> list[dict[str, Any]]:
    """The comparison as text; `cut` are the labels whose window of sensitivity the grid cuts off."""
    rows = []
    for _, row in comparison.iterrows():
        cells = {}
        for side, label in (("", row["label"]), ("baseline_", row["baseline"])):
            mark = " †" if row["quantity"] == "regret_window" and label in cut else ""
            bound = "≥ " if _bound(row, side) else ""
            text = f"{bound}{_value(row, side)}{mark}" if row["seeds"] else "–"
            cells[f"{side}value"] = text
        rows.append(
            {"label": row["label"], "quantity": QUANTITIES[row["quantity"]], **cells,
             "difference": _difference(row), "seeds": int(row["seeds"]), "p": _p_text(row["p"]),
             "p_holm": _p_text(row["p_holm"]), "decision": row["decision"]}
        )  # fmt: skip
    return rows


def cost_rows(costs: pd.DataFrame) -> list[dict[str, Any]]:
    """The costs as text, each with its ratio to the baseline."""
    rows = []
    for index, (_, row) in enumerate(costs.iterrows()):
        cells = []
        for name in COSTS:
            ratio = row[f"{name}_ratio"]
            shown = "" if not index or pd.isna(ratio) else f" (× {ratio:.3g})"
            cells.append(_cost_text(name, row[name]) + shown)
        rows.append({"label": row["label"], "cells": cells, "way": _way(row)})
    return rows


def what_it_sees(comparison: pd.DataFrame) -> str:
    """What the tests can and cannot show with as many seeds as there are."""
    count, rows = int(comparison["seeds"].max()), len(comparison)
    if count < 2:
        return (
            "With one seed there is no spread between seeds, so no test and no decision is possible: the "
            "differences are shown and nothing is concluded. Run with seeds=3 or, better, more."
        )
    alone, first = (student.ppf(1 - LEVEL / 2 / m, count - 1) / count**0.5 for m in (1, rows))
    return (
        f"With {count} seeds each test is a paired t-test with {count - 1} degrees of freedom. It shows a "
        f"mean difference only where that exceeds {alone:.2g} standard deviations of the seeds' differences, "
        f"and the strongest of the {rows} rows, after Holm's correction over all of them (Holm 1979), "
        f"{first:.2g}; smaller differences it cannot see, so “no difference shown” does not mean “equal”. "
        "The intervals are 95 % for each row alone, not corrected: one may leave 0 out though no difference "
        "is shown. Where every seed differs by the same there is no spread to test against: that counts as "
        "shown unless it is 0. A seed counts where both methods have every run that the quantity needs. "
        "Seeds vary initialisation and data order alone: nothing here speaks of other tasks or models."
    )
