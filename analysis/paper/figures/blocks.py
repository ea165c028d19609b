"""Score against learning rate by number of blocks, and step time: the paper's Tables 9 and 10."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.table import Study
from analysis.figures.elements import methods_of, metric_words
from analysis.figures.style import REFERENCE, MethodStyle, figure_style, method_styles, save, subplots
from analysis.statistics.intervals import seed_means


@figure_style()
def draw_blocks(study: Study, folder: Path) -> Path:
    """Sweep `blocks`: a panel per method, darker for more blocks, and one for the cost of a step."""
    runs = study.runs[study.runs["counted"]]
    methods = methods_of(runs)
    styles = method_styles(methods, {method: method for method in methods})
    figure, axes = subplots(1, len(methods) + 1, size=(3.4 * (len(methods) + 1), 3.2))
    data = []
    for panel, method in zip(axes, methods, strict=False):
        of_method = runs[runs["method"] == method]
        of_method = of_method.assign(blocks=of_method[f"method.{method}.blocks"].astype(float))
        points = seed_means(of_method.sort_values(["blocks", "lr"]), ["blocks", "lr"], "test")
        _draw_by_blocks(panel, points, styles[method])
        panel.axhline(runs["base_test"].mean(), color=REFERENCE, ls="--", lw=1, label="frozen base model")
        panel.set_xscale("log")
        panel.set(title=styles[method].name, xlabel="learning rate", ylabel=f"test {metric_words(runs)}")
        panel.legend(loc="lower right")
        seconds = of_method.groupby("blocks")["step_seconds"].mean()
        axes[-1].plot(
            seconds.index, 1000 * seconds, color=styles[method].colour, marker="o", label=styles[method].name
        )
        data.append(points.assign(method=method, step_seconds=points["blocks"].map(seconds)))
    axes[-1].set_xscale("log", base=2)
    axes[-1].set(title="cost", xlabel="blocks", ylabel="ms per run and step", ylim=(0, None))
    axes[-1].legend()
    return save(figure, pd.concat(data), folder, "blocks")


def _draw_by_blocks(axes: Axes, points: pd.DataFrame, style: MethodStyle) -> None:
    """A line and its band for each number of blocks."""
    counts = sorted(points["blocks"].unique())
    for shade, count in zip(np.linspace(0.35, 1.0, len(counts)), counts, strict=True):
        line = points[points["blocks"] == count]
        axes.plot(
            line["lr"], line["mean"], color=style.colour, alpha=shade, marker="o", ms=4,
            label=f"{count:.0f} blocks",
        )  # fmt: skip
        axes.fill_between(line["lr"], line["low"], line["high"], color=style.colour, alpha=0.12, lw=0)
