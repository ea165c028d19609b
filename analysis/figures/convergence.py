"""Validation score during training: the paper's Figure 6."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm

from analysis.data.table import Study
from analysis.figures.elements import draw_references, metric_of
from analysis.figures.style import figure_style, method_styles, panels, save
from analysis.statistics.intervals import seed_means

CAPTION = (
    "Validation score during training, one line per learning rate (compare the paper's "
    "Figure 6). A method that is robust has many lines that end together; one that converges early has "
    "lines that rise at once. Dashed: the untouched base model; dotted: chance."
)
PAPER_CAPTION = "Figure 6: convergence at each learning rate."


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
    rates = np.sort(runs["lr"].unique())
    norm = LogNorm(rates[0], rates[-1] if len(rates) > 1 else rates[0] * 10)
    colours = ScalarMappable(norm, "viridis")
    for panel, label in zip(axes, study.labels, strict=True):
        draw_references(panel, runs, "valid")
        for lr, points in data[data["label"] == label].groupby("lr"):
            panel.plot(points["step"], points["mean"], color=colours.to_rgba(lr), lw=1.5)
        panel.set_title(styles[label].title)
        panel.set_xlabel("training step")
    axes[0].set_ylabel(f"validation {metric_of(runs)}")
    figure.colorbar(colours, ax=axes, label="learning rate", aspect=30, pad=0.01)
    return save(figure, data, folder, "convergence")
