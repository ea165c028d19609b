"""`python -m analysis.report NAME`: redraws a study from its records alone.

Writes results/NAME/robustness.csv, figures/ (PNG, PDF and CSV each) and report.html, one file that
needs nothing else.
"""

from __future__ import annotations

import argparse
import base64
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from analysis.data.table import AnalysisError, Study, absent, load, setting_text, settings_columns
from analysis.figures import geometry as geometry_figures
from analysis.figures import learning_rate as figures
from analysis.figures.style import looks
from analysis.statistics.robustness import DEFINITIONS, robustness_table
from study.cli.exits import one_line

SHOWN = {
    "tuned_test": "tuned test score",
    "best_lr": "tuned learning rate",
    "regret_window": "sensitivity (mean regret, ±1.5 decades)",
    "regret_grid": "mean regret, whole grid",
    "plateau_2": "plateau within 2 % [decades]",
    "plateau_10": "plateau within 10 % [decades]",
    "plateau_target": "plateau above target [decades]",
    "divergence_rate": "divergence rate",
    "seed_spread": "seed spread",
    "parameters": "parameters",
    "step_seconds": "seconds per step",
}
CAPTIONS = {
    "robustness": "Test score against learning rate. Lines are means over seeds, bands their 95 % intervals; "
    "below, every run is a dot and a diverged run a cross. Diverged runs count in every mean. Dashed: "
    "the untouched base model; dotted: chance.",
    "convergence": "Validation score during training, one line per learning rate (compare the paper's "
    "Figure 6). A method that is robust has many lines that end together; one that converges early has "
    "lines that rise at once. Dashed: the untouched base model; dotted: chance.",
    "distances": "How far training moved the transformation from the identity and the weight from where it "
    "was (compare the paper's Figure 4). A cross at the upper edge: a run there is not finite, so there is "
    "no mean. Bounded methods flatten; the others grow with the learning rate.",
    "he_training": "Change of hyperspherical energy (compare the paper's Figure 7). One-sided orthogonal "
    "maps, ETHER and OFT, cannot change it; the others can.",
}


def draw(folder: Path) -> Path:
    """Redraws everything for the study in `folder`; returns the report's path.

    Raises:
        AnalysisError: if the tables are missing, of a newer version, or cannot be compared.
    """
    study = load(folder)
    if not study.runs["counted"].any():
        raise AnalysisError(f"{folder} holds no run that ended; see the reasons in runs.parquet")
    table = robustness_table(study.runs)
    table.to_csv(folder / "robustness.csv", index=False)
    best_lr = dict(zip(table["label"], table["best_lr"], strict=True))
    drawn = [
        figures.robustness(study, folder / "figures"),
        figures.convergence(study, folder / "figures"),
        geometry_figures.distances(study, folder / "figures"),
        geometry_figures.he_training(study, folder / "figures", best_lr),
    ]
    report = folder / "report.html"
    report.write_text(_html(study, table, drawn), encoding="utf-8")
    return report


def _html(study: Study, table: pd.DataFrame, drawn: list[Path]) -> str:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
    pictures = [
        {
            "name": path.stem,
            "caption": CAPTIONS[path.stem],
            "data": base64.b64encode(path.read_bytes()).decode(),
        }
        for path in drawn
    ]
    runs = study.runs
    return environment.get_template("report.html.j2").render(
        name=study.name,
        task=f"{runs['task'].iloc[0]} ({runs['scale'].iloc[0]})",
        metric=runs["metric"].iloc[0],
        base=f"{runs['base_test'].mean():.3f}",
        chance=f"{runs['chance'].mean():.3f}",
        count=len(runs),
        seeds=runs["seed"].nunique(),
        rates=runs["lr"].nunique(),
        summary=summary(study, table),
        columns=list(SHOWN.items()),
        rows=table_rows(study, table),
        pictures=pictures,
        definitions={SHOWN.get(name, name): text for name, text in DEFINITIONS.items()},
        hints=DEFINITIONS,
        settings=shared_settings(runs),
        diverged=accidents(runs, "diverged"),
        failed=accidents(runs, "failed"),
        missing=absent(runs).to_dict("records"),
        versions=sorted(set(runs["versions"])),
        commits=sorted(
            {f"{sha or 'no checkout'}{' (with uncommitted changes)' if dirty else ''}"
             for sha, dirty in zip(runs["git_sha"], runs["git_dirty"], strict=True)}
        ),
        devices=sorted(set(runs["device"])),
    )  # fmt: skip


def summary(study: Study, table: pd.DataFrame) -> list[str]:
    """What the table says, in plain sentences made from its figures."""
    look = looks(study.labels, study.method_of)
    names = {label: look[label].name for label in table["label"]}
    higher = bool(study.runs["higher_is_better"].iloc[0])
    best = table.sort_values("tuned_test", ascending=not higher).iloc[0]
    wide = table.sort_values("plateau_10", ascending=False).iloc[0]
    bound = "at least " if wide["plateau_10_censored"] != "none" else ""
    said = [
        f"Tuned, {names[best['label']]} scores best: {_interval(best, 'tuned_test')} on test at a learning "
        f"rate of {best['best_lr']:.3g}{_not_separated(table, best, 'tuned_test', names)}."
    ]
    if len(table) > 1:
        steady = table.sort_values("regret_window").iloc[0]
        touchy = table.sort_values("regret_window").iloc[-1]
        said += [
            f"{names[wide['label']]} has the widest plateau: it stays within 10 % of its own tuned score "
            f"over {bound}{wide['plateau_10']:.1f} decades of learning rate"
            f"{_not_separated(table, wide, 'plateau_10', names)}.",
            f"Within 1.5 decades of its tuned learning rate {names[steady['label']]} loses least, "
            f"{_interval(steady, 'regret_window')} on average"
            f"{_not_separated(table, steady, 'regret_window', names)}, and {names[touchy['label']]} most, "
            f"{_interval(touchy, 'regret_window')}.",
        ]
        cut = [names[r["label"]] for _, r in table.iterrows() if r["regret_window_truncated"] != "none"]
        if cut:
            said.append(f"The grid ends inside that window for {', '.join(cut)}: beyond it nothing was run.")
    diverged = int(table["diverged"].sum())
    said.append(f"{diverged} of {int(table['runs'].sum())} ended runs diverged.")
    empty = [look[label].name for label in study.labels if label not in names]
    if empty:
        said.append(f"Every run failed, so there is no figure, for {', '.join(empty)}.")
    return said


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


def _number(value: float) -> str:
    if pd.isna(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value == 0 or abs(value) >= 1e-3 else f"{value:.1e}"


def _interval(row: pd.Series, name: str) -> str:
    """`0.81 [0.79, 0.83]`, or the figure alone where it has no spread."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    if pd.isna(low) or low == high == row[name]:
        return _number(row[name])
    return f"{_number(row[name])} [{_number(low)}, {_number(high)}]"


def table_rows(study: Study, table: pd.DataFrame) -> list[dict[str, Any]]:
    look = looks(study.labels, study.method_of)
    rows = []
    for _, row in table.iterrows():
        cells = []
        for name in SHOWN:
            censored = row.get(f"{name}_censored", "none") != "none"
            cut = row.get(f"{name}_truncated", "none") != "none"
            text = ("≥ " if censored else "") + _interval(row, name) + (" †" if cut else "")
            cells.append({"text": text, "value": "" if pd.isna(row[name]) else repr(float(row[name]))})
        rows.append({"name": look[row["label"]].name, "colour": look[row["label"]].colour, "cells": cells})
    return rows


def shared_settings(runs: pd.DataFrame) -> list[tuple[str, str]]:
    """Every setting with its values; a method's option counts its own runs alone."""
    found = []
    for column in ["sweep", *settings_columns(runs)]:
        values = sorted({setting_text(v) for v in runs[column] if not pd.isna(v)})
        if values:
            found.append((column, ", ".join(values)))
    found.append(("lr", ", ".join(f"{lr:.3g}" for lr in sorted(runs["lr"].unique()))))
    found.append(("seed", ", ".join(str(s) for s in sorted(runs["seed"].unique()))))
    return found


def accidents(runs: pd.DataFrame, status: str) -> list[dict[str, Any]]:
    """The runs of one status: label, learning rate, seed, run_id and reason (which names the step)."""
    rows = runs[runs["status"] == status].sort_values(["place", "lr", "seed"])
    return rows[["label", "lr", "seed", "run_id", "reason"]].to_dict("records")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.report", description=__doc__)
    parser.add_argument("name", help="a study, a folder under --results")
    parser.add_argument("--results", default="results", help="where studies are kept")
    chosen = parser.parse_args(arguments)
    return one_line(lambda: announce(draw, Path(chosen.results) / chosen.name))


def announce(draw: Callable[[Path], Path], folder: Path) -> int:
    """Draws the report of a study and says where it is."""
    print(f"report: {draw(folder)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
