"""Tables 4 and 5: GLUE and instruction tuning, ours beside the printed numbers.

Both are tidy, a row per scale, method with its options, and subset or benchmark:
    metric; ours: mean test score at the learning rate that validation chose, with its 95 % interval low,
        high (Student's over seeds; nan with one seed);
    seeds and lr behind it; base: the untouched model's score, which also has rows of its own, method `base`;
        so has the frozen model with a head that was trained alone, `head`, from the sweep head_alone;
    parameters: trained numbers, heads included; model, data and study: where it comes from;
    printed: the paper's number, where scale is paper and the paper has that method with these options.
Scores are in percent, as printed, but a metric of which less is better (perplexity) is itself. The last rows
are printed cells beside which nothing of ours stands.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.data.labels import setting_text
from analysis.data.scores import direction
from analysis.data.studies import Key, key_of
from analysis.data.table import Study
from analysis.paper.published import printed
from analysis.statistics.intervals import mean_interval
from analysis.statistics.robustness import robustness_table
from study.evaluation.scores_file import COLUMNS as SCORE_COLUMNS
from study.evaluation.scores_file import read_scores
from study.storage.tuned import tuned_lr

Row = dict[str, Any]
"""Of the tables above, by its columns; text, numbers and gaps, as a DataFrame takes them."""

Rows = list[Row]

SCORE = ("ours", "low", "high")
COLUMNS = ["metric", *SCORE, "printed", "base", "parameters", "seeds", "lr", "model", "data", "study"]
BASE, HEAD = "base", "head"
ENCODER = "encoder"
"""Of controllable generation: see `analysis.paper.image_tables`."""
AVERAGE = "average"
"""Over the eight subsets of GLUE, as the paper prints it."""


def glue_table(studies: Iterable[Study], heads: Mapping[Key, Study] | None = None) -> pd.DataFrame:
    """Table 4, from one study for each scale and subset, and those of their heads trained alone."""
    rows: Rows = []
    for study in studies:
        base, *others = measured(study)
        head = [head_row(heads[key_of(study)])] if heads and key_of(study) in heads else []
        rows += [row | {"subset": key_of(study)[2]} for row in (base, *head, *others)]
    numbers = printed(4)
    return beside(rows + _averages(rows, numbers), numbers, "subset")


def instruct_table(studies: Iterable[Study], results: Path) -> pd.DataFrame:
    """Table 5: a study's own metric, and the benchmarks that `python -m study.evaluate` has left there."""
    rows: Rows = []
    for study in studies:
        study_rows = measured(study)
        rows += [row | {"benchmark": row["metric"]} for row in study_rows]
        rows += _evaluated(study, study_rows, results)
    return beside(rows, printed(5), "benchmark")


def measured(study: Study) -> Rows:
    """Rows of the columns above but `printed`: the untouched model (method `base`), then each label's."""
    counted = study.runs[study.runs["counted"]]
    first = counted.iloc[0]
    percent = 100.0 if first["higher_is_better"] else 1.0
    base = percent * float(counted["base_test"].mean())
    same = {
        "scale": first["scale"], "metric": first["metric"], "base": base,
        "model": first.get("task.model", ""), "data": first.get("task.data", ""), "study": first["study"],
    }  # fmt: skip
    rows: Rows = [same | {"method": BASE, "options": "", "label": BASE, "ours": base}]
    for figures in robustness_table(study.runs).to_dict("records"):
        method, label, lr = figures["method"], figures["label"], figures["best_lr"]
        tuned_runs = counted[(counted["label"] == label) & (counted["lr"] == lr)]
        prefix = f"method.{method}."
        options = tuned_runs.filter(like=prefix).iloc[0].dropna()
        text = " ".join(f"{c.removeprefix(prefix)}={setting_text(value)}" for c, value in options.items())
        score = [percent * figures[f"tuned_test{end}"] for end in ("", "_low", "_high")]
        rows.append(
            same
            | {"method": method, "options": text, "label": label, "lr": lr, "seeds": len(tuned_runs)}
            | {"parameters": int(figures["parameters"]), "study": tuned_runs["study"].iloc[0]}
            | dict(zip(SCORE, score, strict=True))
        )
    return rows


def head_row(study: Study) -> Row:
    """Row `head` of a study of something trained alone: its settings with the best mean validation score."""
    counted = study.runs[study.runs["counted"]]
    best = (direction(counted) * counted.groupby("label")["valid"].mean()).idxmax()
    row = next(row for row in measured(study) if row["label"] == best)
    first = counted[counted["label"] == best].iloc[0]
    settings = {name: setting_text(first[f"task.{name}"]) for name in ("head_lr", "steps")}
    text = " ".join(f"{name}={value}" for name, value in settings.items())
    return row | {"method": HEAD, "options": text, "lr": np.nan, "parameters": pd.NA}


def _averages(rows: Rows, numbers: pd.DataFrame) -> Rows:
    """The mean of whatever has all of GLUE's subsets at the paper's scale; without an interval."""
    cells = pd.DataFrame(rows, columns=["scale", "method", "options", "subset", *COLUMNS])
    cells = cells[(cells["scale"] == "paper") & cells["subset"].isin(set(numbers["subset"]))]
    means = []
    for (method, options), rows_of_method in cells.groupby(["method", "options"], sort=False):
        if rows_of_method["subset"].nunique() == numbers["subset"].nunique() - 1:
            same = {"scale": "paper", "method": method, "options": options, "subset": AVERAGE}
            means.append(same | rows_of_method[["ours", "base"]].mean().to_dict() | {"metric": "mean"})
    return means


def _evaluated(study: Study, study_rows: Rows, results: Path) -> Rows:
    """Rows of the printed benchmarks: the untouched model's, and each label's at its tuned rate.

    With one seed the interval is left out: what spread remains is of the questions alone.
    """
    table = _answers(study, results)
    table = table[table["benchmark"].isin(set(printed(5)["benchmark"]))]
    table = table.assign(score=100 * table["score"].astype(float))
    base = table[table["method"] == BASE].drop_duplicates("benchmark").set_index("benchmark")["score"]
    rows = []
    for row in study_rows:
        at_rate = (study.runs["label"] == row["label"]) & (study.runs["lr"] == row.get("lr"))
        ids = study.runs.loc[at_rate, "run_id"]
        chosen = table["method"] == BASE if row["method"] == BASE else table["run_id"].isin(ids)
        for benchmark, answers in table[chosen].groupby("benchmark", sort=False):
            interval = np.array(mean_interval(answers["score"].to_numpy()))
            score = np.where(np.isfinite(interval), interval, np.nan).tolist()
            new = {"benchmark": benchmark, "metric": answers["metric"].iloc[0]}
            new |= {} if row["method"] == BASE else {"seeds": len(answers)}
            new |= {"base": base.get(benchmark, np.nan), **dict(zip(SCORE, score, strict=True))}
            rows.append(row | new)
    return rows


def asked_elsewhere(studies: Iterable[Study], results: Path) -> list[str]:
    """The labels without a row of benchmarks though some of their runs were asked, as sentences."""
    sentences = []
    for study in studies:
        asked = study.runs[study.runs["run_id"].isin(_answers(study, results)["run_id"])]
        for label, rows in asked.groupby("label", sort=False):
            lr = tuned_lr(study.of(str(label)))
            if not (rows["lr"] == lr).any():
                rates = ", ".join(f"{rate:.3g}" for rate in sorted(rows["lr"].unique()))
                sentences.append(f"{label} has no benchmarks: asked were runs at {rates}, tuned is {lr:.3g}.")
    return sentences


def _answers(study: Study, results: Path) -> pd.DataFrame:
    """The rows of the study's benchmarks.csv, of all of its folders."""
    files = [results / name / "benchmarks.csv" for name in study.runs["study"].unique()]
    rows = [dataclasses.asdict(row) for file in files for row in read_scores(file)]
    return pd.DataFrame(rows, columns=list(SCORE_COLUMNS))


def beside(rows: Rows, numbers: pd.DataFrame, across: str) -> pd.DataFrame:
    """The rows, in the printed order, with the printed numbers: same method and cell, all printed options."""
    cells = {(c["method"], c["options"], c[across]): c["printed"] for c in numbers.to_dict("records")}
    unmatched = dict(cells)
    for row in rows:
        for (method, options, name), number in cells.items():
            same_options = set(options.split()) <= set(row["options"].split())
            if row["scale"] == "paper" and (method, name) == (row["method"], row[across]) and same_options:
                row["printed"] = number
                unmatched.pop((method, options, name), None)
    rest = [
        {"scale": "paper", "method": method, "options": options, across: name, "printed": number}
        for (method, options, name), number in unmatched.items()
    ]
    order = list(numbers[across].unique())
    rows.sort(
        key=lambda row: (row["scale"], order.index(row[across]) if row[across] in order else len(order))
    )
    table = pd.DataFrame([*rows, *rest], columns=["scale", "method", "options", across, *COLUMNS])
    return table.astype(dict.fromkeys(["parameters", "seeds"], "Int64"))
