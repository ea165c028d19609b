"""What several figures are made of."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.table import Study
from analysis.figures.style import REFERENCE, MethodStyle
from analysis.statistics.intervals import seed_means


def draw_band(axes: Axes, x: pd.Series, points: pd.DataFrame, style: MethodStyle) -> None:
    """A line through the means with its interval as a band.

    Args:
        points: columns mean, low, high, as of `seed_means`.
    """
    axes.plot(x, points["mean"], color=style.colour, marker=style.marker, ms=4.5, lw=1.8, label=style.title)
    axes.fill_between(x, points["low"], points["high"], color=style.colour, alpha=0.18, lw=0)


def draw_references(axes: Axes, runs: pd.DataFrame, split: str, in_legend: bool = False) -> None:
    """The untouched base model's score on `valid` or `test`, and chance, as lines."""
    for value, name, line in (
        (runs[f"base_{split}"].mean(), "frozen base model", "--"),
        (runs["chance"].mean(), "chance", ":"),
    ):
        axes.axhline(value, color=REFERENCE, ls=line, lw=1, label=name if in_legend else None, zorder=1)


def metric_of(runs: pd.DataFrame) -> str:
    return str(runs["metric"].iloc[0])


def methods_of(runs: pd.DataFrame) -> list[str]:
    """Names of the methods in canonical order."""
    return list(dict.fromkeys(runs.sort_values("rank")["method"]))


def draw_against_lr(axes: Axes, study: Study, value: str, styles: dict[str, MethodStyle]) -> pd.DataFrame:
    """One line per label that has the figure, with its interval; returns what is plotted.

    Where a run's figure is not finite there is no mean: the line has a gap, and a cross in the
    method's colour at the upper edge says so (`not_finite` in the data counts such runs).
    """
    runs = study.runs[study.runs["counted"]].sort_values(["rank", "lr"])
    runs = runs.assign(finite=np.isfinite(runs[value].astype(float)))
    runs = runs[runs.groupby("label")["finite"].transform("any")]  # LoRA has no transformation
    data = seed_means(runs[runs["finite"]], ["label", "lr"], value)
    not_finite = (~runs["finite"]).groupby([runs["label"], runs["lr"]], sort=False).sum()
    data = not_finite.rename("not_finite").reset_index().merge(data, how="left", on=["label", "lr"])
    data["seeds"] = data["seeds"].fillna(0).astype(int)
    data.loc[data["not_finite"] > 0, ["mean", "low", "high"]] = np.nan
    for label in study.labels:
        points = data[data["label"] == label]
        if len(points):
            draw_band(axes, points["lr"], points, styles[label])
            rates = points.loc[points["not_finite"] > 0, "lr"]
            if len(rates):  # at a height of the panel, not of the data
                height, edge = [0.98] * len(rates), axes.get_xaxis_transform()
                axes.plot(rates, height, "x", color=styles[label].colour, mew=2, transform=edge)
    if data["not_finite"].any():
        axes.plot([], [], "x", color="black", mew=2, label="a run is not finite")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    return data.assign(figure=value)
