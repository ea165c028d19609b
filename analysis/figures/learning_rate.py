"""Score against learning rate, and convergence: the study's headline and the paper's Figures 5 and 6."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.ticker import LogLocator
from scipy.stats import t as student

from analysis.data.studies import key_of
from analysis.data.table import Study
from analysis.figures.style import REFERENCE, Look, legend_beside, looks, panels, save


def mean_and_interval(rows: pd.DataFrame, by: list[str], value: str) -> pd.DataFrame:
    """Mean over seeds with its 95 % Student interval: columns `by`, mean, low, high, seeds.

    The interval is nan with one seed.
    """
    grouped = rows.groupby(by, sort=False)[value].agg(["mean", "std", "count"]).reset_index()
    count = grouped["count"].to_numpy()
    with np.errstate(invalid="ignore"):
        half = student.ppf(0.975, count - 1) * grouped["std"] / np.sqrt(count)
    grouped["low"], grouped["high"] = grouped["mean"] - half, grouped["mean"] + half
    return grouped.drop(columns="std").rename(columns={"count": "seeds"})


def draw_band(axes: Axes, x: pd.Series, points: pd.DataFrame, look: Look) -> None:
    """A line through the means with its interval as a band."""
    axes.plot(x, points["mean"], color=look.colour, marker=look.marker, ms=4.5, lw=1.8, label=look.title)
    axes.fill_between(x, points["low"], points["high"], color=look.colour, alpha=0.18, lw=0)


def _references(axes: Axes, runs: pd.DataFrame, split: str, words: bool = False) -> None:
    """The untouched base model's score and chance, as lines."""
    for value, name, style in (
        (runs[f"base_{split}"].mean(), "frozen base model", "--"),
        (runs["chance"].mean(), "chance", ":"),
    ):
        axes.axhline(value, color=REFERENCE, ls=style, lw=1, label=name if words else None, zorder=1)


def _metric(study: Study) -> str:
    return str(study.runs["metric"].iloc[0])


def robustness(study: Study, folder: Path) -> Path:
    """Test score against learning rate: all methods in one panel, and each with every run below.

    Lines are means over seeds, bands their 95 % Student intervals; dots are runs, crosses diverged
    runs, which count in the means like any other.
    """
    runs = study.runs[study.runs["counted"]]
    look = looks(study.labels, study.method_of)
    columns = min(len(study.labels), 5)
    rows = -(-len(study.labels) // columns)
    figure = plt.figure(figsize=(2.1 * max(columns, 4) + 0.5, 4.0 + 2.0 * rows), layout="constrained")
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[2.1, *[1] * rows])
    top = figure.add_subplot(grid[0, :])
    means = mean_and_interval(runs.sort_values(["place", "lr"]), ["label", "lr"], "test")
    _references(top, runs, "test", words=True)
    first = None
    for index, label in enumerate(study.labels):
        own, points = runs[runs["label"] == label], means[means["label"] == label]
        draw_band(top, points["lr"], points, look[label])
        small = figure.add_subplot(grid[1 + index // columns, index % columns], sharex=first, sharey=first)
        first = first or small
        small.set_xscale("log")
        _references(small, runs, "test")
        small.plot(points["lr"], points["mean"], color=look[label].colour, lw=1.5)
        ok, diverged = own[own["status"] != "diverged"], own[own["status"] == "diverged"]
        small.plot(ok["lr"], ok["test"], ".", color=look[label].colour, ms=4, alpha=0.55)
        small.plot(diverged["lr"], diverged["test"], "x", color="black", ms=5, mew=1.2)
        small.set_title(look[label].title)
        small.set_xlabel("learning rate")
        if index % columns == 0:
            small.set_ylabel(f"test {_metric(study)}")
        else:
            small.tick_params(labelleft=False)
    top.set_xscale("log")
    top.xaxis.set_major_locator(LogLocator(numticks=20))
    top.set_ylabel(f"test {_metric(study)}")
    seeds = int(means["seeds"].max())
    task, scale, subset = key_of(study)
    name = " ".join(filter(None, (task, subset)))
    top.set_title(
        f"{name} ({scale}): robustness to the learning rate, mean and 95 % interval of {seeds} seeds"
    )
    if (runs["status"] == "diverged").any():
        top.plot([], [], "x", color="black", ms=5, label="diverged run")
    legend_beside(top)
    valid = mean_and_interval(runs.sort_values(["place", "lr"]), ["label", "lr"], "valid")
    data = means.assign(split="test"), valid.assign(split="valid")
    return save(figure, pd.concat(data), folder, "robustness")


def convergence(study: Study, folder: Path) -> Path:
    """Validation score during training, a line per learning rate (mean over seeds); paper, Fig. 6."""
    runs = study.runs[study.runs["counted"]]
    names = runs[["run_id", "label", "place", "lr", "chance"]]
    history = study.history.merge(names, on="run_id")
    history["valid"] = history["valid"].fillna(history["chance"])  # as in the runs' own scores
    data = mean_and_interval(history.sort_values(["place", "lr", "step"]), ["label", "lr", "step"], "valid")
    look = looks(study.labels, study.method_of)
    figure, axes = panels(len(study.labels), columns=5)
    rates = np.sort(runs["lr"].unique())
    norm = LogNorm(rates[0], rates[-1] if len(rates) > 1 else rates[0] * 10)
    colours = ScalarMappable(norm, "viridis")
    for panel, label in zip(axes, study.labels, strict=True):
        _references(panel, runs, "valid")
        for lr, points in data[data["label"] == label].groupby("lr"):
            panel.plot(points["step"], points["mean"], color=colours.to_rgba(lr), lw=1.5)
        panel.set_title(look[label].title)
        panel.set_xlabel("training step")
    axes[0].set_ylabel(f"validation {_metric(study)}")
    figure.colorbar(colours, ax=axes, label="learning rate", aspect=30, pad=0.01)
    return save(figure, data, folder, "convergence")
