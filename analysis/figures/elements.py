"""What several figures are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.baselines import trained_alone
from analysis.data.metrics import of_real_data
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


@dataclass(frozen=True)
class Reference:
    """A score to compare with, as a line across a panel; nan where there is none."""

    name: str
    value: float
    line: Any


def references(study: Study, split: str) -> list[Reference]:
    """Scores on `valid` or `test` of whoever the runs are compared with, from the best to chance.

    Real data in the place of what is generated; the frozen model with a head, or an encoder, trained alone;
    the untouched model; a guess.
    """
    runs = study.runs[study.runs["counted"]]
    alone = trained_alone(study)
    real = of_real_data(runs if split == "test" else study.history, metric_of(runs))
    found = [
        Reference("real data", real, "-"),
        alone_line(alone, split),
        Reference("frozen base model", runs[f"base_{split}"].mean(), "--"),
        Reference("chance", runs["chance"].mean(), ":"),
    ]
    return [reference for reference in found if np.isfinite(reference.value)]


def alone_line(alone: pd.DataFrame, column: str) -> Reference:
    """The mean of a column over the runs of `trained_alone`."""
    if alone.empty or column not in alone:
        return Reference("", np.nan, "-.")
    return Reference(str(alone["sweep"].iloc[0]).replace("_", " "), float(alone[column].mean()), "-.")


def draw_references(axes: Axes, lines: Sequence[Reference], in_legend: bool = False) -> None:
    for each in lines:
        name = each.name if in_legend else None
        axes.axhline(each.value, color=REFERENCE, ls=each.line, lw=1, label=name, zorder=1)


def energy_title(runs: pd.DataFrame) -> str:
    """What `he_change` is a change of, by the setting `task.energy`."""
    kinds = set(runs["task.energy"].dropna()) if "task.energy" in runs else set()
    if not kinds:
        return "HE(W') - HE(W) (mean over pairs and layers)"
    mixed = "" if len(kinds) == 1 and runs["task.energy"].notna().all() else ", where task.energy says so"
    return f"HE(W') - HE(W)\n(OFT's measure, summed over layers{mixed})"


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
