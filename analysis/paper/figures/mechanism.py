"""A control that the paper does not have: normals of another length, free to grow or held."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.data.table import Study
from analysis.figures.elements import methods_of, metric_words
from analysis.figures.style import REFERENCE, figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.intervals import seed_means

MODES = {False: ("-", "free"), True: ("--", "renormalised after every step")}
SCALE_COLOURS = {0.1: "#56B4E9", 1.0: "#000000", 10.0: "#D55E00"}


@figure_style()
def draw_mechanism(study: Study, folder: Path) -> Path:
    """Sweep `mechanism`: does the plateau come from the bound or from normals that grow?

    Above, score against learning rate for normals begun 0.1, 1 and 10 times as long, free or put back
    to their length after every step. Below, how much they grew.
    """
    runs = study.runs[study.runs["counted"]]
    methods = methods_of(runs)
    styles = method_styles(methods, {method: method for method in methods})
    size = (4.4 * len(methods) + 1.8, 5.6)
    figure, axes = subplots(2, len(methods), size=size, sharex=True, squeeze=False)
    data = []
    for column, method in enumerate(methods):
        of_method = runs[runs["method"] == method]
        of_method = of_method.assign(
            scale=of_method[f"method.{method}.init_scale"].astype(float),
            fixed=of_method[f"method.{method}.renormalise"].astype(bool),
        )
        for row, value in enumerate(("test", "parameter_growth")):
            points = seed_means(of_method.sort_values("lr"), ["scale", "fixed", "lr"], value)
            data.append(points.assign(method=method, figure=value))
            _draw_by_scale(axes[row, column], points if value == "test" else points[~points["fixed"]])
        axes[0, column].axhline(runs["base_test"].mean(), color=REFERENCE, ls="--", lw=1)
        axes[0, column].set_title(styles[method].name)
        axes[1, column].set_yscale("log")
        axes[1, column].set_xlabel("learning rate")
        axes[1, column].set_xscale("log")
    axes[0, 0].set_ylabel(f"test {metric_words(runs)}")
    axes[1, 0].set_ylabel("length of the normals,\nend over start")
    legend_beside(axes[0, -1])
    return save(figure, pd.concat(data), folder, "mechanism")


def _draw_by_scale(axes: Axes, points: pd.DataFrame) -> None:
    """A line and its band for each length of the normals, dashed where they were held."""
    for (scale, fixed), line in points.groupby(["scale", "fixed"]):
        line_style, mode = MODES[bool(fixed)]
        colour = SCALE_COLOURS.get(float(scale))
        axes.plot(
            line["lr"], line["mean"], line_style, color=colour, lw=1.6, label=f"{scale:g} x length, {mode}"
        )
        axes.fill_between(line["lr"], line["low"], line["high"], color=colour, alpha=0.12, lw=0)
