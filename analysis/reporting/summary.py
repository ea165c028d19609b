"""What a study's robustness table says, in plain sentences made from its figures."""

from __future__ import annotations

import pandas as pd

from analysis.data.scores import direction
from analysis.data.table import Study
from analysis.figures.style import method_styles
from analysis.reporting.number_text import interval_text


def summary(study: Study, table: pd.DataFrame) -> list[str]:
    """Sentences on the tuned scores, the plateaus, the sensitivities, and what diverged or failed."""
    styles = method_styles(study.labels, study.method_of)
    names = {label: styles[label].name for label in table["label"]}
    best = table.sort_values("tuned_test", ascending=direction(study.runs) < 0).iloc[0]
    sentences = [
        f"Tuned, {names[best['label']]} scores best: {interval_text(best, 'tuned_test')} on test at a "
        f"learning rate of {best['best_lr']:.3g}{_not_separated(table, best, 'tuned_test', names)}."
    ]
    if len(table) > 1:
        sentences += _robustness_sentences(table, names)
    diverged = int(table["diverged"].sum())
    sentences.append(f"{diverged} of {int(table['runs'].sum())} ended runs diverged.")
    all_failed = [styles[label].name for label in study.labels if label not in names]
    if all_failed:
        sentences.append(f"Every run failed, so there is no figure, for {', '.join(all_failed)}.")
    return sentences


def _robustness_sentences(table: pd.DataFrame, names: dict[str, str]) -> list[str]:
    """The widest plateau, the least and the most sensitive method, and windows that the grid cuts off."""
    widest = table.sort_values("plateau_10", ascending=False).iloc[0]
    bound = "at least " if widest["plateau_10_censored"] != "none" else ""
    by_regret = table.sort_values("regret_window")
    least, most = by_regret.iloc[0], by_regret.iloc[-1]
    sentences = [
        f"{names[widest['label']]} has the widest plateau: it stays within 10 % of its own tuned score "
        f"over {bound}{widest['plateau_10']:.1f} decades of learning rate"
        f"{_not_separated(table, widest, 'plateau_10', names)}.",
        f"Within 1.5 decades of its tuned learning rate {names[least['label']]} loses least, "
        f"{interval_text(least, 'regret_window')} on average"
        f"{_not_separated(table, least, 'regret_window', names)}, and {names[most['label']]} most, "
        f"{interval_text(most, 'regret_window')}.",
    ]
    truncated = [
        names[row["label"]] for _, row in table.iterrows() if row["regret_window_truncated"] != "none"
    ]
    if truncated:
        sentences.append(
            f"The grid ends inside that window for {', '.join(truncated)}: beyond it nothing was run."
        )
    return sentences


def _not_separated(table: pd.DataFrame, first: pd.Series, name: str, names: dict[str, str]) -> str:
    """Which labels' 95 % intervals overlap the first one's, as a clause; without intervals, that."""
    if pd.isna(first[f"{name}_low"]):
        return " (no interval: one seed)"
    low, high = first[f"{name}_low"], first[f"{name}_high"]
    others = table[(table["label"] != first["label"]) & (table[f"{name}_low"] <= high)]
    others = others[others[f"{name}_high"] >= low]
    if others.empty:
        return ""
    return f" (its interval overlaps that of {', '.join(names[label] for label in others['label'])})"
