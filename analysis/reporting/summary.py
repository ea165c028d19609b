"""What a study's robustness table says, in plain sentences made from its figures."""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from analysis.data.scores import direction
from analysis.data.table import Study
from analysis.figures.style import method_styles
from analysis.reporting.moves import moves
from analysis.reporting.number_text import interval_text
from analysis.statistics.learning import MIN_SEEDS
from analysis.statistics.superlatives import Superlative, contenders, superlative


def summary(study: Study, table: pd.DataFrame) -> list[str]:
    """Sentences on who learns, the tuned scores, sensitivities and plateaus, and what diverged or failed."""
    styles = method_styles(study.labels, study.method_of)
    names = {label: styles[label].name for label in table["label"]}
    sentences = [*_left_out(table, names)]
    if len(contenders(table)):
        best = superlative(table, "tuned_test", more_is_first=direction(study.runs) > 0)
        sentences += [_score_sentence(best, table, names), *_sensitivity_sentences(table, names)]
        sentences += _plateau_sentences(table, names)
    sentences += moves(study)
    diverged = int(table["diverged"].sum())
    sentences.append(f"{diverged} of {int(table['runs'].sum())} ended runs diverged.")
    all_failed = [styles[label].name for label in study.labels if label not in names]
    if all_failed:
        sentences.append(f"Every run failed, so there is no figure, for {', '.join(all_failed)}.")
    return sentences


def _left_out(table: pd.DataFrame, names: dict[str, str]) -> list[str]:
    """Who takes no part in what follows, and why."""
    sentences = [
        f"{names[row['label']]} {row['not_learning']}."
        for _, row in table[table["not_learning"] != ""].iterrows()
    ]
    if len(sentences) == len(table) > 1:
        sentences.append("No method learns, so none is called best or robust.")
    elif sentences and len(table) > 1:
        sentences.append(
            "Who does not learn takes no part in what follows: at chance there is nothing to lose."
        )
    few = table[table["seeds"] < MIN_SEEDS]
    if len(few):
        counts = sorted(set(few["seeds"]))
        have = " or ".join("one seed" if count == 1 else f"{count} seeds" for count in counts)
        who = "" if len(few) == len(table) else f" for {_listed(few['label'], names)}"
        sentences.append(
            f"There is no verdict{who} with {have}, here of the fewest at any rate: it takes {MIN_SEEDS} or, "
            "better, 5 (the same command with seeds=5)."
        )
    return sentences


def _score_sentence(best: Superlative, table: pd.DataFrame, names: dict[str, str]) -> str:
    first = best.first if best.first is not None else contenders(table).iloc[0]
    does = "scores" if best.first is None else "scores best:"
    return (
        f"Tuned, {names[first['label']]} {does} {interval_text(first, 'tuned_test')} on test at a "
        f"learning rate of {first['best_lr']:.3g}{_overlap(best, names)}."
    )


def _sensitivity_sentences(table: pd.DataFrame, names: dict[str, str]) -> list[str]:
    """The least and the most sensitive method, and windows that the grid cuts off."""
    found = superlative(table, "regret_window", more_is_first=False)
    if found.first is None or found.last is None:
        return []
    least, most = found.first, found.last
    sentences = [
        f"Within 1.5 decades of its tuned learning rate {names[least['label']]} loses least, "
        f"{interval_text(least, 'regret_window')} on average{_overlap(found, names)}, and "
        f"{names[most['label']]} most, {interval_text(most, 'regret_window')}."
    ]
    rows = contenders(table)
    truncated = rows[rows["regret_window_truncated"] != "none"]
    if len(truncated):
        sentences.append(
            f"The grid ends inside that window for {_listed(truncated['label'], names)}: beyond it nothing "
            "was run."
        )
    return sentences


def _plateau_sentences(table: pd.DataFrame, names: dict[str, str]) -> list[str]:
    found = superlative(table, "plateau_10", more_is_first=True)
    if found.undecided_by:
        rows = table.set_index("label").loc[list(found.undecided_by)]
        widths = ", ".join(
            f"{names[label]}'s at least {row['plateau_10']:.1f}" for label, row in rows.iterrows()
        )
        return [
            "Whose plateau is the widest cannot be said, for the grid ends inside it: within 10 % of the "
            f"method's own tuned score it is {widths} decades of learning rate."
        ]
    if found.first is None:
        return []
    widest = found.first
    bound = "at least " if widest["plateau_10_censored"] != "none" else ""
    return [
        f"{names[widest['label']]} has the widest plateau: it stays within 10 % of its own tuned score "
        f"over {bound}{widest['plateau_10']:.1f} decades of learning rate{_overlap(found, names)}."
    ]


def _overlap(found: Superlative, names: dict[str, str]) -> str:
    """Which intervals overlap the first one's, as a clause."""
    if not found.overlapping:
        return ""
    return f" (its interval overlaps that of {_listed(found.overlapping, names)})"


def _listed(labels: Iterable[str], names: dict[str, str]) -> str:
    return ", ".join(names[label] for label in labels)
