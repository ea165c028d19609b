"""What a study trained on, where that was not the whole training split with its own labels."""

from __future__ import annotations

import pandas as pd

from analysis.data.labels import is_missing


def training_set_of(runs: pd.DataFrame) -> str:
    """In a sentence or two; empty where all runs had all examples with their own labels.

    Args:
        runs: the `runs` of a `Study`.
    """
    sentences = []
    if counts := _values(runs, "task.train_examples"):
        those = _listed([f"{count:,.0f}" if count == count else "all" for count in counts])
        sentences.append(f"Trained on {those} of the training examples.")
    if shares := _values(runs, "task.label_noise"):
        those = _listed([f"{100 * share:g} %" if share == share else "none" for share in shares])
        sentences.append(f"Of the training labels {those} were replaced by those of other classes.")
    return " ".join(sentences)


def _values(runs: pd.DataFrame, column: str) -> list[float]:
    """The setting's values in order, nan for none; nothing where no run has one."""
    if column not in runs:
        return []
    values = {None if is_missing(value) else float(value) for value in runs[column]}
    known = sorted(value for value in values if value is not None)
    return known + [float("nan")] * (None in values) if known else []


def _listed(parts: list[str]) -> str:
    return f"{', '.join(parts[:-1])} or {parts[-1]}" if len(parts) > 1 else parts[0]
