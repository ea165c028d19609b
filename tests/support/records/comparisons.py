"""Comparisons made of synthetic records."""

from __future__ import annotations

import json
from pathlib import Path

from analysis.comparison.compared import read
from analysis.comparison.costs import costs_table
from analysis.comparison.sentences import sentences
from analysis.comparison.table import comparison_table
from support.records import synthetic
from support.records.synthetic import Curve, hill

LRS = [10 ** (k / 2) for k in range(-9, 1)]
BASE = hill(-2.2, 2, 0.8, noise=0.01)


def write(folder: Path, made: list[dict], labels: dict[str, str] | None = None, **changes: object) -> Path:
    """The records with a compare.json; `labels` are the methods', in the order of the records, if None."""
    methods = {r["row"]["run_id"]: r["row"]["method"] for r in made}
    labels = methods if labels is None else labels
    order = list(dict.fromkeys(labels.values()))
    synthetic.write(folder, made)
    description = {
        "baseline": order[0],
        "order": order,
        "labels": labels,
        "command": "compare it",
        "costs": {},
    }
    (folder / "compare.json").write_text(json.dumps(description | changes))
    return folder


def pair(new: Curve, **columns: object) -> list[dict]:
    return synthetic.records({"ether": BASE, "hra": new}, LRS, **columns)  # type: ignore[arg-type]


def judged(folder: Path, made: list[dict], **changes: object) -> dict[str, tuple[str, str]]:
    """about -> (decision, sentence) of the one new method."""
    study = read(write(folder, made, **changes))  # type: ignore[arg-type]
    table = sentences(study.names, comparison_table(study), costs_table(study), study.runs)
    assert list(table["about"]) == ["score", "robustness", "cost"] * (len(study.order) - 1)
    assert all(text.endswith(".") and ". " not in text for text in table["sentence"])
    return {row.about: (row.decision, row.sentence) for row in table.itertuples()}


def of(made: list[dict], method: str) -> list[dict]:
    """The rows of one method, to change in place."""
    return [r["row"] for r in made if r["row"]["method"] == method]


def diverge(rows: list[dict], above: float) -> None:
    for row in rows:
        if row["lr"] > above:
            row |= {"status": "diverged", "reason": "loss", "test": 0.1, "valid": 0.1}


def wobbling(log_lr: float, seed: int) -> float:
    """BASE with noise of its own and the same mean."""
    return BASE(log_lr, seed) + 0.03 * [1, -1, 0.5, -0.5, 0][seed]
