"""Score against learning rate: the study's headline and the paper's Figure 5."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from analysis.data.metrics import metric_title
from analysis.data.studies import key_of
from analysis.data.table import Study
from analysis.figures.elements import draw_band, draw_references, references
from analysis.figures.style import MethodStyle, figure_style, legend_beside, method_styles, save
from analysis.statistics.intervals import mean_title, seed_means

CAPTION = (
    "Test score against learning rate. Lines are means over seeds, bands their 95 % Student intervals; "
    "below, every run is a dot and a diverged run a cross. Diverged runs count in every mean. Grey lines: "
    "the untouched base model (dashed), chance (dotted) and, where they are known, real data in the place of "
    "what is generated (solid) and the head or encoder trained alone (dash-dotted)."
)
PAPER_CAPTION = "Figure 5's question on the miniature, with error bars and LoRA."


@figure_style()
def draw_robustness(study: Study, folder: Path) -> Path:
    """Test score against learning rate: all methods in one panel, and each with every run below.

    Lines are means over seeds, bands their 95 % Student intervals; dots are runs, crosses diverged
    runs, which count in the means like any other.
    """
    runs = study.runs[study.runs["counted"]]
    styles = method_styles(study.labels, study.method_of)
    columns = min(len(study.labels), 5)
    rows = -(-len(study.labels) // columns)
    figure = Figure(figsize=(2.1 * max(columns, 4) + 0.5, 4.0 + 2.0 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[2.1, *[1] * rows])
    top = figure.add_subplot(grid[0, :])
    means = seed_means(runs.sort_values(["rank", "lr"]), ["label", "lr"], "test")
    lines = references(study, "test")
    draw_references(top, lines, in_legend=True)
    first, ylabel = None, f"test {metric_title(runs)}"
    for index, label in enumerate(study.labels):
        points = means[means["label"] == label]
        draw_band(top, points["lr"], points, styles[label])
        small = figure.add_subplot(grid[1 + index // columns, index % columns], sharex=first, sharey=first)
        first = first or small
        draw_references(small, lines)
        _draw_runs(small, runs[runs["label"] == label], points, styles[label])
        if index % columns == 0:
            small.set_ylabel(ylabel)
        else:
            small.tick_params(labelleft=False)
    top.set_xscale("log")
    top.xaxis.set_major_locator(LogLocator(numticks=20))
    top.set_ylabel(ylabel)
    task, scale, subset = key_of(study)
    name = " ".join(filter(None, (task, subset)))
    top.set_title(f"{name} ({scale}): robustness to the learning rate, {mean_title(means['seeds'])}")
    if (runs["status"] == "diverged").any():
        top.plot([], [], "x", color="black", ms=5, label="diverged run")
    legend_beside(top)
    valid = seed_means(runs.sort_values(["rank", "lr"]), ["label", "lr"], "valid")
    data = means.assign(split="test"), valid.assign(split="valid")
    return save(figure, pd.concat(data), folder, "robustness")


def _draw_runs(axes: Axes, runs: pd.DataFrame, means: pd.DataFrame, style: MethodStyle) -> None:
    """One label's runs as dots, diverged ones as crosses, and the line through their means."""
    axes.set_xscale("log")
    axes.plot(means["lr"], means["mean"], color=style.colour, lw=1.5)
    is_diverged = runs["status"] == "diverged"
    ended, diverged = runs[~is_diverged], runs[is_diverged]
    axes.plot(ended["lr"], ended["test"], ".", color=style.colour, ms=4, alpha=0.55)
    axes.plot(diverged["lr"], diverged["test"], "x", color="black", ms=5, mew=1.2)
    axes.set_title(style.title)
    axes.set_xlabel("learning rate")
