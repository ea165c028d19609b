"""The two metrics that a task's primary one is the harmonic mean of, against each other.

Of subject-driven generation: is it the subject, and is it what the prompt says? Each alone is best for
something that nobody wants, the pictures that were trained on, or the untouched model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.metrics import REAL, REPEATED, UNTOUCHED, FurtherMetric, in_place, trade_off
from analysis.data.table import Study
from analysis.figures.elements import metric_words, tuned_rates
from analysis.figures.explorable import explain
from analysis.figures.palette import MUTED
from analysis.figures.style import (
    REFERENCE,
    MethodStyle,
    figure_style,
    legend_beside,
    method_styles,
    save,
    subplots,
)
from analysis.statistics.intervals import mean_title, seed_means

CAPTION = (
    "The two test metrics of which the primary one is the harmonic mean (grey curves: where that is the "
    "same), means over seeds. A method's path goes from its lowest learning rate, the smallest marker, to "
    "its highest; the large hollow marker with 95 % intervals is the tuned rate. Grey: the untouched model, "
    "the data that was trained on, given out again, and real data."
)

LEVELS = np.arange(0.1, 1.0, 0.1)
"""Of the grey curves."""

POINTS = {
    UNTOUCHED: ("untouched model", "o"),
    REPEATED: ("training data, repeated", "s"),
    REAL: ("real data", "*"),
}
"""What is drawn beside the methods: its name, its marker."""


@figure_style()
def draw_plane(study: Study, folder: Path) -> Path | None:
    """A path over learning rates per label; None where the primary metric is no compromise of two."""
    runs = study.runs[study.runs["counted"]]
    pair = trade_off(runs)
    if not pair or (runs["steps"] == 0).all():
        return None
    across, up = pair
    styles, tuned = method_styles(study.labels, study.method_of), tuned_rates(study)
    figure, axes = subplots(size=(6.6, 4.4))
    axes.set(xlabel=f"test {across.title}", ylabel=f"test {up.title}")
    data = []
    for label in study.labels:
        of_label = runs[runs["label"] == label]
        path = _path(of_label, across, up)
        if len(path):
            _draw_path(axes, path, tuned.get(label, np.nan), styles[label])
            data.append(path.assign(label=label, tuned=path["lr"] == tuned.get(label)))
    data += _draw_points(axes, runs, across, up)
    _draw_levels(axes)
    legend_beside(axes)
    plotted = pd.concat(data)
    seeds = plotted["seeds"].dropna().astype(int)
    figure.suptitle(f"The two parts of {metric_words(runs)}, {mean_title(seeds)}")
    return save(figure, plotted, folder, "plane")


def _path(runs: pd.DataFrame, across: FurtherMetric, up: FurtherMetric) -> pd.DataFrame:
    """One label's means by learning rate: lr, seeds, and x and y with their intervals."""
    finite = runs[np.isfinite(runs[[across.column, up.column]].astype(float)).all(axis=1)].sort_values("lr")
    path = None
    for axis, metric in (("x", across), ("y", up)):
        means = seed_means(finite, ["lr"], metric.column)
        means = means.rename(columns={"mean": axis, "low": f"{axis}_low", "high": f"{axis}_high"})
        path = means if path is None else path.merge(means.drop(columns="seeds"), on="lr")
    assert path is not None
    return path


def _draw_path(axes: Axes, path: pd.DataFrame, tuned: float, style: MethodStyle) -> None:
    """Markers that grow with the learning rate, and the tuned rate's with its intervals."""
    colour = MUTED if style.muted else style.colour
    name = f"_{style.title}" if style.muted else style.title
    axes.plot(path["x"], path["y"], style.line, color=colour, lw=1.3, label=f"_{style.title}", zorder=2)
    sizes = np.linspace(8, 55, len(path))
    axes.scatter(path["x"], path["y"], s=sizes, color=colour, marker=style.marker, label=name, zorder=3)
    at = path[path["lr"] == tuned]
    if style.muted or at.empty:
        return
    spread = [[at[a] - at[f"{a}_low"], at[f"{a}_high"] - at[a]] for a in ("x", "y")]
    bars = axes.errorbar(
        at["x"], at["y"], xerr=np.nan_to_num(np.array(spread[0])), yerr=np.nan_to_num(np.array(spread[1])),
        color=colour, marker=style.marker, ms=9, mfc="white", mew=1.6, lw=1.2, label=f"_{style.title}",
        zorder=4,
    )  # fmt: skip
    text = f"{style.title}\nlearning rate {tuned:.3g}\n{at['x'].iloc[0]:.3g}, {at['y'].iloc[0]:.3g}"
    explain(bars.lines[0], [text])


def _draw_points(
    axes: Axes, runs: pd.DataFrame, across: FurtherMetric, up: FurtherMetric
) -> list[pd.DataFrame]:
    """What methods are compared with; returns what is plotted."""
    drawn = []
    for kind, (name, marker) in POINTS.items():
        x, y = (in_place(runs, kind, metric.name) for metric in (across, up))
        if np.isfinite([x, y]).all():
            axes.plot(x, y, marker, ls="none", color=REFERENCE, ms=9, label=name, zorder=5)
            drawn.append(pd.DataFrame({"label": [name], "x": [x], "y": [y]}))
    return drawn


def _draw_levels(axes: Axes) -> None:
    """Curves of equal harmonic mean, within what the axes show: y = m x / (2 x - m)."""
    right = axes.get_xlim()[1]
    axes.autoscale(False)
    for level in LEVELS:
        x = np.linspace(level / 2 + 1e-3, max(right, level), 400)
        axes.plot(x, level * x / (2 * x - level), color=REFERENCE, lw=0.6, alpha=0.5, label="_", zorder=1)
