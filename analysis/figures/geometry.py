"""Distances and hyperspherical energy: the paper's Figures 4 and 7."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.table import Study
from analysis.figures.learning_rate import draw_band, mean_and_interval
from analysis.figures.style import Look, legend_beside, looks, save

DISTANCES = {
    "transform_distance": r"$\|T - I\|_F$ (mean over layers)",
    "weight_distance": r"$\|W' - W\|_F$ (mean over layers)",
}


def _against_lr(axes: Axes, study: Study, value: str, look: dict[str, Look]) -> pd.DataFrame:
    """One line per label that has the figure, with its interval; returns what is plotted.

    Where a run's figure is not finite there is no mean: the line has a gap, and a cross in the
    method's colour at the upper edge says so (`not_finite` in the data counts such runs).
    """
    runs = study.runs[study.runs["counted"]].sort_values(["place", "lr"])
    runs = runs.assign(finite=np.isfinite(runs[value].astype(float)))
    runs = runs[runs.groupby("label")["finite"].transform("any")]  # LoRA has no transformation
    data = mean_and_interval(runs[runs["finite"]], ["label", "lr"], value)
    lost = (~runs["finite"]).groupby([runs["label"], runs["lr"]], sort=False).sum()
    data = lost.rename("not_finite").reset_index().merge(data, how="left", on=["label", "lr"])
    data["seeds"] = data["seeds"].fillna(0).astype(int)
    data.loc[data["not_finite"] > 0, ["mean", "low", "high"]] = np.nan
    for label in study.labels:
        points = data[data["label"] == label]
        if len(points):
            draw_band(axes, points["lr"], points, look[label])
            gone = points.loc[points["not_finite"] > 0, "lr"]
            if len(gone):  # at a height of the panel, not of the data
                height, edge = [0.98] * len(gone), axes.get_xaxis_transform()
                axes.plot(gone, height, "x", color=look[label].colour, mew=2, transform=edge)
    if data["not_finite"].any():
        axes.plot([], [], "x", color="black", mew=2, label="a run is not finite")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    return data.assign(figure=value)


def distances(study: Study, folder: Path) -> Path:
    """Distance of the transformation from the identity, and of the weight, at the end; paper, Fig. 4.

    Methods without a transformation of the weight (LoRA) have the second alone.
    """
    look = looks(study.labels, study.method_of)
    figure, axes = plt.subplots(1, 2, figsize=(9.2, 3.6), layout="constrained")
    data = []
    for panel, (value, title) in zip(axes, DISTANCES.items(), strict=True):
        data.append(_against_lr(panel, study, value, look))
        panel.set_yscale("log")
        lowest, highest = data[-1]["mean"].min(), data[-1]["mean"].max()
        if highest < 1.05 * lowest:  # a constant, such as ETHER's distance: no range to scale to
            panel.set_ylim(lowest / 2, highest * 2)
        panel.set_ylabel(title)
    legend_beside(axes[1])
    figure.suptitle("Distance at the end of training, mean and 95 % interval over seeds", fontsize=11)
    return save(figure, pd.concat(data), folder, "distances")


def he_training(study: Study, folder: Path, best_lr: dict[str, float]) -> Path:
    """Change of hyperspherical energy during training at the tuned rate, and at the end; paper, Fig. 7.

    Args:
        best_lr: each label's tuned learning rate.
    """
    look = looks(study.labels, study.method_of)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9.2, 3.6), layout="constrained")
    names = study.runs.loc[study.runs["counted"], ["run_id", "label", "place", "lr"]]
    history = study.history.merge(names, on="run_id").sort_values(["place", "step"])
    tuned = history[history["lr"] == history["label"].map(best_lr)]
    during = mean_and_interval(tuned, ["label", "lr", "step"], "he_change")
    for label in study.labels:
        points = during[during["label"] == label]
        if len(points):
            draw_band(left, points["step"], points, look[label])
    left.set_xlabel("training step")
    left.set_ylabel("HE(W') - HE(W) (mean over pairs and layers)")
    left.set_title("during training, at the tuned learning rate")
    at_end = _against_lr(right, study, "he_change", look)
    right.set_yscale("symlog", linthresh=1e-4)
    if len(at_end):
        right.set_ylim(bottom=min(2 * at_end["mean"].min(), -1e-4))
    right.set_title("at the end, against the learning rate")
    legend_beside(right)
    figure.suptitle("Change of hyperspherical energy, mean and 95 % interval over seeds", fontsize=11)
    return save(figure, pd.concat([during.assign(figure="during"), at_end]), folder, "he_training")
