"""`python -m analysis.compare FOLDER`: redraws the comparison of new methods with a baseline.

FOLDER is a study of `python -m study.compare`: its tables, and compare.json, which names the baseline,
each run's label and what each method costs. Writes report.html, one file that needs nothing else;
comparison.csv, verdicts.csv, costs.csv, robustness.csv; and figures/ (PNG, PDF and CSV each).

Every difference is new minus baseline, paired by seed, with its 95 % Student interval; the p-values of
all rows of the table together are corrected by Holm's method (Holm 1979).
"""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from jinja2 import Environment, FileSystemLoader
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from analysis.comparison import sentences as verdicts
from analysis.comparison.numbers import (
    COSTS,
    Compared,
    comparison_table,
    costs_table,
    figures_by_seed,
    pareto_points,
    read,
)
from analysis.data.table import absent
from analysis.figures import geometry as geometry_figures
from analysis.figures import learning_rate as figures
from analysis.figures.style import REFERENCE, legend_beside, looks, save
from analysis.report import CAPTIONS, SHOWN, accidents, announce, shared_settings, table_rows
from analysis.statistics.robustness import DEFINITIONS, robustness_table
from study.cli.exits import one_line

PARETO = (
    "Score and sensitivity against trained parameters: means over seeds with 95 % Student intervals. Filled: "
    "no other method has both fewer (or as many) parameters and a better (or equal) mean; the line joins "
    "those. The front goes by means alone and is no test; the table below is."
)


def pareto(study: Compared, folder: Path) -> Path:
    """Tuned test score, and sensitivity, against parameters; see PARETO."""
    by_seed, look = figures_by_seed(study), looks(study.labels, study.method_of)
    sizes = costs_table(study).set_index("label")["parameters"]
    higher = bool(study.runs["higher_is_better"].iloc[0])
    titles = {
        "tuned_test": f"tuned test {study.runs['metric'].iloc[0]}{'' if higher else ' (lower is better)'}",
        "regret_window": "sensitivity: mean regret\nover ±1.5 decades (lower is better)",
    }
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.8), layout="constrained")
    data = []
    for panel, (quantity, title) in zip(axes, titles.items(), strict=True):
        points = pareto_points(by_seed, sizes, quantity, 1.0 if higher and quantity == "tuned_test" else -1.0)
        front = points[points["optimal"]].sort_values("parameters")
        panel.plot(front["parameters"], front["value"], color=REFERENCE, lw=1, zorder=1)
        for row in points.itertuples():
            own = look[row.label]
            reach = np.nan_to_num([[row.value - row.low], [row.high - row.value]])
            panel.errorbar(
                row.parameters, row.value, yerr=reach, fmt=own.marker, color=own.colour, capsize=3, ms=8,
                mfc=own.colour if row.optimal else "white", label=own.title,
            )  # fmt: skip
        panel.set(xscale="log", xlabel="trained parameters", ylabel=title)
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))  # 2k, 5k: they may lie close
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.margins(x=0.12)
        data.append(points)
    axes[1].plot([], [], color=REFERENCE, marker="o", ms=5, lw=1, label="Pareto-optimal: filled")
    legend_beside(axes[1])
    return save(figure, pd.concat(data), folder, "pareto")


def tables(study: Compared) -> dict[str, pd.DataFrame]:
    """What is kept as NAME.csv: robustness, comparison, costs and verdicts."""
    comparison, costs = comparison_table(study), costs_table(study)
    return {
        "robustness": robustness_table(study.runs),
        "comparison": comparison,
        "costs": costs,
        "verdicts": verdicts.sentences(study.names, comparison, costs, study.runs),
    }


def draw(folder: Path) -> Path:
    """Redraws everything for the comparison in `folder`; returns the report's path.

    Raises:
        AnalysisError: if the records are missing, damaged, or cannot be compared.
    """
    folder = Path(folder)
    study = read(folder)
    kept = tables(study)
    for name, each in kept.items():
        each.to_csv(folder / f"{name}.csv", index=False)
    table = kept["robustness"]
    best_lr = dict(zip(table["label"], table["best_lr"], strict=True))
    drawn = [
        pareto(study, folder / "figures"),
        figures.robustness(study, folder / "figures"),
        figures.convergence(study, folder / "figures"),
        geometry_figures.distances(study, folder / "figures"),
        geometry_figures.he_training(study, folder / "figures", best_lr),
    ]
    report = folder / "report.html"
    report.write_text(_html(study, kept, drawn), encoding="utf-8")
    return report


def _html(study: Compared, kept: dict[str, pd.DataFrame], drawn: list[Path]) -> str:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)
    captions = {"pareto": PARETO, **CAPTIONS}
    runs, table = study.runs, kept["robustness"]
    look = looks(study.labels, study.method_of)
    cut = {row["label"] for _, row in table.iterrows() if row["regret_window_truncated"] != "none"}
    return environment.get_template("compare.html.j2").render(
        study=study,
        runs=runs,
        names=study.names,
        colours={label: each.colour for label, each in look.items()},
        verdicts=kept["verdicts"].groupby("label", sort=False)["sentence"].apply(list).to_dict(),
        comparison=verdicts.comparison_rows(kept["comparison"], cut),
        seen=verdicts.what_it_sees(kept["comparison"]),
        cost_titles=COSTS,
        costs=verdicts.cost_rows(kept["costs"]),
        pictures=[
            {
                "name": p.stem,
                "caption": captions[p.stem],
                "data": base64.b64encode(p.read_bytes()).decode(),
            }
            for p in drawn
        ],
        columns=list(SHOWN.items()),
        rows=table_rows(study, table),
        hints=DEFINITIONS,
        definitions={SHOWN.get(name, name): text for name, text in DEFINITIONS.items()},
        settings=shared_settings(runs),
        accidents={"diverged": accidents(runs, "diverged"), "failed": accidents(runs, "failed")},
        missing=absent(runs).to_dict("records"),
        made_by=[*sorted(set(runs["versions"])), *sorted(set(runs["device"]))],
    )


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m analysis.compare", description=__doc__)
    parser.add_argument("folder", type=Path, help="a comparison, such as results/compare/NAME")
    return one_line(lambda: announce(draw, parser.parse_args(arguments).folder))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
