"""Random, untrained transformations of growing strength: the paper's Figure 3."""

from __future__ import annotations

import itertools
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.data.table import Study
from analysis.figures.distances import DISTANCES
from analysis.figures.elements import methods_of, metric_words
from analysis.figures.style import (
    REFERENCE,
    MethodStyle,
    figure_style,
    legend_beside,
    method_styles,
    save,
    subplots,
)

SATURATING = ("ether", "ether_plus", "oft")
"""Methods whose distance has a bound."""


@figure_style()
def draw_perturbation(study: Study, folder: Path) -> Path:
    """Sweep `perturbation`: score and loss of the untrained model against distance (paper, Fig. 3).

    A dot is one random draw. Rings mark the end of a method's range, the mean distance of its strongest
    draws: ETHER is a point, ETHER+ and OFT saturate, Naive and LoRA have no end. Dotted upright lines
    are ETHER's distance, 2 sqrt(n), and ETHER+'s bound per side, sqrt(2 n).
    """
    runs = study.runs[study.runs["counted"]]
    methods = methods_of(runs)
    styles = method_styles(methods, {method: method for method in methods})
    figure, axes = subplots(2, 2, size=(9.6, 6), sharex="col", sharey="row")
    for panel, (y, x) in zip(axes.flat, itertools.product(("test", "loss_last"), DISTANCES), strict=True):
        for method in methods:
            _draw_draws(panel, runs[runs["method"] == method], x, y, styles[method])
        panel.set_xscale("log")
    for method, factor in (("ether", 4.0), ("ether_plus", 2.0)):
        for count in runs.get(f"method.{method}.blocks", pd.Series(dtype=float)).dropna().unique():
            for panel in axes[:, 0]:
                panel.axvline((factor * float(count)) ** 0.5, color=styles[method].colour, ls=":", lw=1)
    for panel in axes[0]:
        panel.axhline(runs["base_test"].mean(), color=REFERENCE, ls="--", lw=1, label="frozen base model")
        panel.axhline(runs["chance"].mean(), color=REFERENCE, ls=":", lw=1, label="chance")
    axes[0, 0].set_ylabel(f"test {metric_words(runs)}")
    axes[1, 0].set_ylabel("validation loss")
    axes[1, 0].set_yscale("log")
    for panel, title in zip(axes[1], DISTANCES.values(), strict=True):
        panel.set_xlabel(title)
    legend_beside(axes[0, 1])
    figure.suptitle("Random, untrained transformations of the pretrained model")
    columns = ["method", "task.noise", "seed", "transform_distance", "weight_distance", "test", "loss_last"]
    return save(figure, runs[columns], folder, "perturbation")


def _draw_draws(axes: Axes, runs: pd.DataFrame, x: str, y: str, style: MethodStyle) -> None:
    """One method's draws as dots, their means by strength as a line, and a ring at the end of its range."""
    means = runs.groupby("task.noise")[[x, y]].mean()
    if means[x].isna().all():  # LoRA has no transformation
        return
    axes.plot(runs[x], runs[y], ".", color=style.colour, ms=4, alpha=0.4)
    axes.plot(means[x], means[y], color=style.colour, lw=1.6, marker=style.marker, ms=4, label=style.name)
    if runs["method"].iloc[0] in SATURATING:
        end = means.iloc[-1]
        axes.plot(end[x], end[y], "o", mfc="none", mec=style.colour, ms=12, mew=1.5)
