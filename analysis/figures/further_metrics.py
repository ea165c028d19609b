"""The metrics beside the primary one against learning rate: with it, the paper's Figure 5."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.baselines import trained_alone
from analysis.data.metrics import UNTOUCHED, FurtherMetric, further_metrics, in_place
from analysis.data.table import Study
from analysis.figures.elements import (
    Reference,
    alone_line,
    draw_against_lr,
    draw_references,
    in_the_place,
)
from analysis.figures.style import MethodStyle, figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.intervals import mean_title

CAPTION = (
    "The task's further metrics on test against learning rate. The primary metric alone decides which rate "
    "is the tuned one. A cross at the upper edge: a run there is not finite, so there is no mean."
)

WIDE = 100.0
"""Positive values whose largest is this many times the smallest are drawn on a logarithmic axis."""


@figure_style()
def draw_further_metrics(study: Study, folder: Path) -> Path | None:
    """A panel per metric, lines with their intervals; None where the task has no further metrics."""
    metrics = further_metrics(study.runs[study.runs["counted"]])
    if not metrics:
        return None
    styles = method_styles(study.labels, study.method_of)
    columns = min(len(metrics), 2)
    rows = -(-len(metrics) // columns)
    size = (3.9 * columns + 1.9, 2.9 * rows + 0.4)
    figure, axes = subplots(rows, columns, size=size, squeeze=False)
    data = [
        draw_metric(panel, study, metric, styles) for panel, metric in zip(axes.flat, metrics, strict=False)
    ]
    for unused in axes.flat[len(metrics) :]:
        unused.set_visible(False)
    legend_beside(axes[0, -1])
    plotted = pd.concat(data)
    seeds = plotted.loc[plotted["seeds"] > 0, "seeds"]
    figure.suptitle(f"Further metrics on test, {mean_title(seeds)}")
    return save(figure, plotted, folder, "further_metrics")


def draw_metric(
    axes: Axes, study: Study, metric: FurtherMetric, styles: dict[str, MethodStyle]
) -> pd.DataFrame:
    """One metric on test against learning rate, with its reference lines; returns what is plotted."""
    data = draw_against_lr(axes, study, metric.column, styles)
    runs = study.runs[study.runs["counted"]]
    lines = [
        *in_the_place(runs, metric.name),
        Reference("frozen base model", in_place(runs, UNTOUCHED, metric.name), "--"),
        alone_line(trained_alone(study), metric.column),
    ]
    draw_references(axes, [line for line in lines if np.isfinite(line.value)], in_legend=True)
    axes.set_ylabel(metric.title)
    if data["mean"].min() > 0 and data["mean"].max() > WIDE * data["mean"].min():
        axes.set_yscale("log")
    return data
