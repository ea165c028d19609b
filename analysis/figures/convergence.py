"""Validation score during training: the paper's Figure 6."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap

from analysis.data.metrics import metric_title
from analysis.data.table import Study
from analysis.figures.elements import draw_references, mean_texts, references, runs_behind, tuned_rates
from analysis.figures.explorable import explain
from analysis.figures.look import current
from analysis.figures.style import figure_style, legend_below, method_styles, panels, save
from analysis.statistics.intervals import seed_means

CAPTION = (
    "Validation score at every evaluation during training, one line per learning rate (compare the paper's "
    "Figure 6), the tuned rate's line thick. A method that is robust has many lines that end together; one "
    "that converges early has lines that rise at once. Grey lines as in the first figure."
)
PAPER_CAPTION = "Figure 6: convergence at each learning rate."

MANY, FEW = 12, 5
"""Learning rates; of more, not every one is written beside the colours, in a column of print FEW."""


@figure_style()
def draw_convergence(study: Study, folder: Path) -> Path:
    """Validation score during training, a line per learning rate (mean over seeds); paper, Fig. 6."""
    runs = study.runs[study.runs["counted"]]
    labels = runs[["run_id", "label", "rank", "lr", "chance"]]
    history = study.history.merge(labels, on="run_id")
    history["valid"] = history["valid"].fillna(history["chance"])  # as in the runs' own scores
    data = seed_means(history.sort_values(["rank", "lr", "step"]), ["label", "lr", "step"], "valid")
    styles = method_styles(study.labels, study.method_of)
    figure, axes = panels(len(study.labels), columns=5)
    rates, lines = list(np.sort(runs["lr"].unique())), references(study, "valid")
    shades = matplotlib.colormaps["viridis"](np.linspace(0, 0.95, len(rates)))
    tuned = tuned_rates(study)
    for panel, label in zip(axes, study.labels, strict=True):
        draw_references(panel, lines, in_legend=panel is axes[0])
        for lr, points in data[data["label"] == label].groupby("lr"):
            behind = runs_behind(points, runs, ["label", "lr"])
            _draw_rate(panel, points, shades[rates.index(lr)], lr == tuned.get(label), behind)
        panel.set_title(styles[label].title)
        panel.set_xlabel("training step")
    figure.supylabel(f"validation {metric_title(runs)}", fontsize=matplotlib.rcParams["axes.labelsize"])
    colours = ScalarMappable(
        BoundaryNorm(np.arange(len(rates) + 1) - 0.5, len(rates)), ListedColormap(shades)
    )
    place = {"location": "bottom", "pad": 0.02} if current().width == "column" else {"pad": 0.01}
    bar = figure.colorbar(colours, ax=axes, label="learning rate", aspect=30, **place)
    shown = range(0, len(rates), -(-len(rates) // (FEW if current().width == "column" else MANY)))
    bar.set_ticks(list(shown), labels=[f"{rates[index]:.3g}" for index in shown])
    bar.minorticks_off()
    if lines:
        legend_below(figure, *axes[0].get_legend_handles_labels())
    figure.suptitle("Validation score during training, mean over seeds")
    return save(figure, data, folder, "convergence")


def _draw_rate(axes: Axes, points: pd.DataFrame, colour: Any, is_tuned: bool, runs: list[list[str]]) -> None:
    """One learning rate's line, thick where it is the tuned one."""
    small = 0.7 if current().width else 1.0
    width, lr = (2.6 if is_tuned else 1.2) * small, points["lr"].iloc[0]
    (line,) = axes.plot(points["step"], points["mean"], "o-", ms=2.5 * small, color=colour, lw=width)
    line.set_label(f"_learning rate {lr:.3g}")
    explain(line, mean_texts(points["step"], points), runs)
