"""Sharpness of the loss beside the learning rate: does the best rate lie where the curvature allows it?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.table import Study
from analysis.figures.elements import draw_against_lr, tuned_rates
from analysis.figures.style import (
    REFERENCE,
    MethodStyle,
    figure_style,
    legend_beside,
    method_styles,
    save,
    subplots,
)
from analysis.statistics.intervals import mean_title
from study.storage.rows import SHARPNESS

START, END = SHARPNESS

CAPTION = (
    "Sharpness: the largest eigenvalue of the Hessian of the training loss in the adapter's parameters. "
    "Left: at the end, over the learning rate; dotted lines: before training; a cross at the upper edge: a "
    "run diverged, so there is no mean. Right: the tuned rate against 2 / sharpness, means over seeds, "
    "hollow before training and filled after it. At the dashed line plain gradient descent is at the edge "
    "of stability; Adam scales the steps of each number and need not be there."
)


@figure_style()
def draw_sharpness(study: Study, folder: Path) -> Path | None:
    """None where the sharpness was not measured (`task.sharpness=true`)."""
    runs = study.runs[study.runs["counted"]]
    if END not in runs or not np.isfinite(runs[[START, END]].astype(float)).any(axis=None):
        return None
    styles = method_styles(study.labels, study.method_of)
    figure, (left, right) = subplots(1, 2, size=(9.2, 3.6))
    data = [draw_against_lr(left, study, END, styles)]
    left.set(yscale="log", ylabel="sharpness at the end")
    places = _places(study)
    _draw_places(right, places, styles)
    for _, place in places.iterrows():
        style = styles[place["label"]]
        if not style.muted:
            left.axhline(place[START], color=style.colour, ls=":", lw=1.3, label=f"_{style.title}", zorder=1)
    left.plot([], [], ":", color="black", label="before training")
    legend_beside(left if not len(places) else right)
    seeds = data[0].loc[data[0]["seeds"] > 0, "seeds"].astype(int)
    figure.suptitle(f"Sharpness of the training loss, {mean_title(seeds)}")
    return save(figure, pd.concat([*data, places.assign(figure="tuned")]), folder, "sharpness")


def _places(study: Study) -> pd.DataFrame:
    """Of each label its tuned rate, and its mean sharpness there, of the runs that did not diverge."""
    rows = []
    for label, lr in tuned_rates(study).items():
        there = study.of(label)
        there = there[(there["lr"] == lr) & np.isfinite(there[[START, END]].astype(float)).all(axis=1)]
        if len(there):
            rows.append({"label": label, "lr": lr, START: there[START].mean(), END: there[END].mean()})
    return pd.DataFrame(rows, columns=["label", "lr", START, END])


def _draw_places(axes: Axes, places: pd.DataFrame, styles: dict[str, MethodStyle]) -> None:
    axes.set(xscale="log", yscale="log", xlabel="2 / sharpness", ylabel="tuned learning rate")
    ends = []
    for _, place in places[(places[[START, END]] > 0).all(axis=1)].iterrows():
        style, x = styles[place["label"]], [2 / place[START], 2 / place[END]]
        ends += [*x, place["lr"]]
        colour = style.colour
        axes.plot(x, [place["lr"]] * 2, "-", color=colour, lw=1, label=f"_{style.title}")
        axes.plot(x[0], place["lr"], marker=style.marker, mfc="white", color=colour, label=f"_{style.title}")
        axes.plot(x[1], place["lr"], marker=style.marker, ls="none", color=colour, label=style.title)
    if ends:
        across = [min(ends) / 2, max(ends) * 2]
        axes.plot(across, across, "--", color=REFERENCE, lw=1, label="rate = 2 / sharpness", zorder=1)
