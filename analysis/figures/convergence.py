"""Validation score during training: the paper's Figure 6."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap

from analysis.data.metrics import metric_title
from analysis.data.table import Study
from analysis.figures.elements import draw_references, references
from analysis.figures.style import figure_style, method_styles, panels, save
from analysis.statistics.intervals import seed_means
from study.storage.tuned import tuned_lr

CAPTION = (
    "Validation score at every evaluation during training, one line per learning rate (compare the paper's "
    "Figure 6), the tuned rate's line thick. A method that is robust has many lines that end together; one "
    "that converges early has lines that rise at once. Grey lines as in the first figure."
)
PAPER_CAPTION = "Figure 6: convergence at each learning rate."

MANY = 12
"""Learning rates; of more, not every one is written beside the colours."""


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
    for panel, label in zip(axes, study.labels, strict=True):
        draw_references(panel, lines, in_legend=panel is axes[0])
        of_label = runs[runs["label"] == label]
        tuned = tuned_lr(of_label) if len(of_label) else np.nan
        for lr, points in data[data["label"] == label].groupby("lr"):
            width, colour = 2.6 if lr == tuned else 1.2, shades[rates.index(lr)]
            panel.plot(points["step"], points["mean"], "o-", ms=2.5, color=colour, lw=width)
        panel.set_title(styles[label].title)
        panel.set_xlabel("training step")
    axes[0].set_ylabel(f"validation {metric_title(runs)}")
    colours = ScalarMappable(
        BoundaryNorm(np.arange(len(rates) + 1) - 0.5, len(rates)), ListedColormap(shades)
    )
    bar = figure.colorbar(colours, ax=axes, label="learning rate", aspect=30, pad=0.01)
    shown = range(0, len(rates), -(-len(rates) // MANY))
    bar.set_ticks(list(shown), labels=[f"{rates[index]:.3g}" for index in shown], fontsize=8)
    bar.minorticks_off()
    figure.legend(loc="outside lower center", ncols=len(lines), fontsize=9)
    figure.suptitle("Validation score during training, mean over seeds", fontsize=11)
    return save(figure, data, folder, "convergence")
