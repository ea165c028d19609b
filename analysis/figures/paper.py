"""Figures of the paper's mechanism: perturbations, energy, blocks, OFT against Naive, and a control.

Each takes a `Study` (the sweep is named in its docstring), saves PNG, PDF and CSV, and returns the PNG.
"""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from analysis.data.table import Study
from analysis.figures.learning_rate import draw_band, mean_and_interval
from analysis.figures.style import REFERENCE, legend_beside, looks, save

MODES = {False: ("-", "free"), True: ("--", "renormalised after every step")}


def _counted(study: Study) -> pd.DataFrame:
    return study.runs[study.runs["counted"]]


def perturbation(study: Study, folder: Path) -> Path:
    """Sweep `perturbation`: score and loss of the untrained model against distance (paper, Fig. 3).

    A dot is one random draw. Rings mark the end of a method's range, the mean distance of its strongest
    draws: ETHER is a point, ETHER+ and OFT saturate, Naive and LoRA have no end. Dotted upright lines
    are ETHER's distance, 2 sqrt(n), and ETHER+'s bound per side, sqrt(2 n).
    """
    runs = _counted(study)
    methods = list(dict.fromkeys(runs.sort_values("place")["method"]))
    look = looks(methods, {method: method for method in methods})
    figure, axes = plt.subplots(2, 2, figsize=(9.6, 6), sharex="col", sharey="row", layout="constrained")
    transform, weight = r"$\|T - I\|_F$ (mean over layers)", r"$\|W' - W\|_F$ (mean over layers)"
    shown = [
        (x, y, title if y == "loss_last" else "")
        for y in ("test", "loss_last")
        for x, title in (("transform_distance", transform), ("weight_distance", weight))
    ]
    for panel, (x, y, title) in zip(axes.flat, shown, strict=True):
        for method in methods:
            own = runs[runs["method"] == method]
            means = own.groupby("task.noise")[[x, y]].mean()
            if means[x].isna().all():
                continue
            colour, name = look[method].colour, look[method].name
            panel.plot(own[x], own[y], ".", color=colour, ms=4, alpha=0.4)
            panel.plot(means[x], means[y], color=colour, lw=1.6, marker=look[method].marker, ms=4, label=name)
            if method in ("ether", "ether_plus", "oft"):
                end = means.iloc[-1]
                panel.plot(end[x], end[y], "o", mfc="none", mec=colour, ms=12, mew=1.5)
        panel.set_xscale("log")
        panel.set_xlabel(title)
    for method, factor in (("ether", 4.0), ("ether_plus", 2.0)):
        for count in runs.get(f"method.{method}.blocks", pd.Series(dtype=float)).dropna().unique():
            for panel in axes[:, 0]:
                panel.axvline((factor * float(count)) ** 0.5, color=look[method].colour, ls=":", lw=1)
    for panel in axes[0]:
        panel.axhline(runs["base_test"].mean(), color=REFERENCE, ls="--", lw=1, label="frozen base model")
        panel.axhline(runs["chance"].mean(), color=REFERENCE, ls=":", lw=1, label="chance")
    axes[0, 0].set_ylabel(f"test {runs['metric'].iloc[0]}")
    axes[1, 0].set_ylabel("validation loss")
    axes[1, 0].set_yscale("log")
    legend_beside(axes[0, 1])
    figure.suptitle("Random, untrained transformations of the pretrained model", fontsize=11)
    columns = ["method", "task.noise", "seed", "transform_distance", "weight_distance", "test", "loss_last"]
    return save(figure, runs[columns], folder, "perturbation")


def hyperspherical(study: Study, folder: Path) -> Path:
    """Sweep `hyperspherical`: change of energy during training, a panel per learning rate (Fig. 7)."""
    runs = _counted(study)
    look = looks(study.labels, study.method_of)
    history = study.history.merge(runs[["run_id", "label", "place", "lr"]], on="run_id")
    data = mean_and_interval(
        history.sort_values(["place", "step"]), ["label", "place", "lr", "step"], "he_change"
    )
    rates = sorted(runs["lr"].unique())
    figure, axes = plt.subplots(
        1, len(rates), figsize=(3.4 * len(rates) + 1.6, 3.4), squeeze=False, layout="constrained"
    )
    for panel, lr in zip(axes.flat, rates, strict=True):
        for label in study.labels:
            points = data[(data["label"] == label) & (data["lr"] == lr)]
            draw_band(panel, points["step"], points, look[label])
        panel.set_title(f"learning rate {lr:g}")
        panel.set_xlabel("training step")
    axes.flat[0].set_ylabel("HE(W') - HE(W), mean over layers")
    legend_beside(axes.flat[-1])
    return save(figure, data, folder, "hyperspherical")


def blocks(study: Study, folder: Path) -> Path:
    """Sweep `blocks`: score against learning rate by number of blocks, and step time (Tables 9, 10)."""
    runs = _counted(study).copy()
    methods = list(dict.fromkeys(runs.sort_values("place")["method"]))
    look = looks(methods, {method: method for method in methods})
    figure, axes = plt.subplots(
        1, len(methods) + 1, figsize=(3.4 * (len(methods) + 1), 3.2), layout="constrained"
    )
    data = []
    for panel, method in zip(axes, methods, strict=False):
        own = runs[runs["method"] == method].assign(
            blocks=runs[f"method.{method}.blocks"].astype(float), option=method
        )
        points = mean_and_interval(own.sort_values(["blocks", "lr"]), ["blocks", "lr"], "test")
        counts = sorted(own["blocks"].unique())
        for shade, count in zip(np.linspace(0.35, 1.0, len(counts)), counts, strict=True):
            line = points[points["blocks"] == count]
            panel.plot(
                line["lr"], line["mean"], color=look[method].colour, alpha=shade, marker="o", ms=4,
                label=f"{count:.0f} blocks",
            )  # fmt: skip
            panel.fill_between(
                line["lr"], line["low"], line["high"], color=look[method].colour, alpha=0.12, lw=0
            )
        panel.axhline(runs["base_test"].mean(), color=REFERENCE, ls="--", lw=1, label="frozen base model")
        panel.set_xscale("log")
        panel.set(title=look[method].name, xlabel="learning rate", ylabel=f"test {runs['metric'].iloc[0]}")
        panel.legend(loc="lower right", fontsize=8)
        seconds = own.groupby("blocks")["step_seconds"].mean()
        axes[-1].plot(
            seconds.index, 1000 * seconds, color=look[method].colour, marker="o", label=look[method].name
        )
        data.append(points.assign(method=method, step_seconds=points["blocks"].map(seconds)))
    axes[-1].set_xscale("log", base=2)
    axes[-1].set(title="cost", xlabel="blocks", ylabel="ms per run and step", ylim=(0, None))
    axes[-1].legend()
    return save(figure, pd.concat(data), folder, "blocks")


def oft_against_naive(study: Study, folder: Path) -> Path:
    """Sweep `lr_grid`: test score of Naive minus OFT's at each rate, paired by seed (Table 6)."""
    runs = _counted(study)
    by = {m: runs[runs["method"] == m].set_index(["lr", "seed"])["test"] for m in ("naive", "oft")}
    difference = (by["naive"] - by["oft"]).dropna().rename("difference").reset_index()
    data = mean_and_interval(difference.sort_values("lr"), ["lr"], "difference")
    figure, axes = plt.subplots(figsize=(6, 3), layout="constrained")
    axes.axhline(0, color=REFERENCE, lw=1)
    error = [data["mean"] - data["low"], data["high"] - data["mean"]]
    axes.errorbar(data["lr"], data["mean"], error, fmt="o-", color="#E69F00", capsize=3)
    axes.plot(difference["lr"], difference["difference"], ".", color="#E69F00", alpha=0.4)
    axes.set_xscale("log")
    axes.set(xlabel="learning rate", ylabel=f"test {runs['metric'].iloc[0]}", title="Naive minus OFT")
    return save(figure, data, folder, "oft_against_naive")


def mechanism(study: Study, folder: Path) -> Path:
    """Sweep `mechanism`: does the plateau come from the bound or from normals that grow?

    Above, score against learning rate for normals begun 0.1, 1 and 10 times as long, free or put back
    to their length after every step. Below, how much they grew.
    """
    runs = _counted(study)
    methods = list(dict.fromkeys(runs.sort_values("place")["method"]))
    look = looks(methods, {method: method for method in methods})
    figure, axes = plt.subplots(
        2, len(methods), figsize=(4.4 * len(methods) + 1.8, 5.6), sharex=True, squeeze=False,
        layout="constrained",
    )  # fmt: skip
    colours = {0.1: "#56B4E9", 1.0: "#000000", 10.0: "#D55E00"}
    data = []
    for column, method in enumerate(methods):
        own = runs[runs["method"] == method].assign(
            scale=runs[f"method.{method}.init_scale"].astype(float),
            fixed=runs[f"method.{method}.renormalise"].astype(bool),
        )
        for row, value in enumerate(("test", "parameter_growth")):
            points = mean_and_interval(own.sort_values("lr"), ["scale", "fixed", "lr"], value)
            data.append(points.assign(method=method, figure=value))
            for (scale, fixed), line in points.groupby(["scale", "fixed"]):
                if value == "parameter_growth" and fixed:
                    continue
                style, mode = MODES[bool(fixed)]
                axes[row, column].plot(
                    line["lr"], line["mean"], style, color=colours.get(float(scale)), lw=1.6,
                    label=f"{scale:g} x length, {mode}",
                )  # fmt: skip
                axes[row, column].fill_between(
                    line["lr"], line["low"], line["high"], color=colours.get(float(scale)), alpha=0.12, lw=0
                )
        axes[0, column].axhline(runs["base_test"].mean(), color=REFERENCE, ls="--", lw=1)
        axes[0, column].set_title(look[method].name)
        axes[1, column].set_yscale("log")
        axes[1, column].set_xlabel("learning rate")
        axes[1, column].set_xscale("log")
    axes[0, 0].set_ylabel(f"test {runs['metric'].iloc[0]}")
    axes[1, 0].set_ylabel("length of the normals,\nend over start")
    legend_beside(axes[0, -1])
    return save(figure, pd.concat(data), folder, "mechanism")
