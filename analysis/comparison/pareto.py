"""Score and sensitivity against trained parameters, and which methods no other dominates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from analysis.comparison.compared import Compared
from analysis.data.scores import direction
from analysis.figures.elements import metric_words
from analysis.figures.style import REFERENCE, figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.curves import Array
from analysis.statistics.robustness import robustness_table
from analysis.statistics.superlatives import contenders

CAPTION = (
    "Score and sensitivity against trained parameters: means over seeds with 95 % Student intervals. Filled: "
    "no other method has both fewer (or as many) parameters and a better (or equal) mean; the line joins "
    "those. Methods that do not learn, or have fewer than three seeds, are hollow and take no part. The "
    "front goes by means alone and is no test; the table below is."
)


def pareto_front(parameters: Array, goodness: Array) -> NDArray[np.bool_]:
    """Which of n points no other dominates: (n,), (n,) -> (n,); fewer parameters and more good win.

    A point dominates another if it is nowhere worse and somewhere better; nan is never on the front.
    """
    fewer = parameters[:, None] <= parameters
    better = goodness[:, None] >= goodness
    strict = (parameters[:, None] < parameters) | (goodness[:, None] > goodness)
    return ~(fewer & better & strict).any(0) & np.isfinite(parameters) & np.isfinite(goodness)


def pareto_points(table: pd.DataFrame, quantity: str, sign: float) -> pd.DataFrame:
    """Columns quantity, label, parameters, seeds, value, low, high, and optimal: whether it is on the front.

    Args:
        table: of `robustness_table`, whose intervals these are.
        sign: 1 where more of the quantity is better, else -1.
    """
    takes_part = table.index.isin(contenders(table).index)
    goodness = np.where(takes_part, sign * table[quantity].to_numpy(float), np.nan)
    named = {quantity: "value", f"{quantity}_low": "low", f"{quantity}_high": "high"}
    points = table[["label", "parameters", "seeds", *named]].rename(columns=named)
    points.insert(0, "quantity", quantity)
    return points.assign(optimal=pareto_front(table["parameters"].to_numpy(float), goodness))


@figure_style()
def draw_pareto(study: Compared, folder: Path) -> Path:
    """Tuned test score, and sensitivity, against parameters; see CAPTION."""
    table, styles = robustness_table(study.runs), method_styles(study.labels, study.method_of)
    sign = direction(study.runs)
    titles = {
        "tuned_test": f"tuned test {metric_words(study.runs)}{'' if sign > 0 else ' (lower is better)'}",
        "regret_window": "sensitivity: mean regret\nover ±1.5 decades (lower is better)",
    }
    figure, axes = subplots(1, 2, size=(9.2, 3.8))
    data = []
    for panel, (quantity, title) in zip(axes, titles.items(), strict=True):
        points = pareto_points(table, quantity, sign if quantity == "tuned_test" else -1.0)
        front = points[points["optimal"]].sort_values("parameters")
        panel.plot(front["parameters"], front["value"], color=REFERENCE, lw=1, zorder=1)
        for row in points.itertuples():
            style = styles[row.label]
            error = np.nan_to_num([[row.value - row.low], [row.high - row.value]])
            panel.errorbar(
                row.parameters, row.value, yerr=error, fmt=style.marker, color=style.colour, capsize=3, ms=8,
                mfc=style.colour if row.optimal else "white", label=style.title,
            )  # fmt: skip
        panel.set(xscale="log", xlabel="trained parameters", ylabel=title)
        panel.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panel.xaxis.set_major_formatter(EngFormatter(sep=""))  # 2k, 5k: they may lie close
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.margins(x=0.12)
        data.append(points)
    axes[1].plot([], [], color=REFERENCE, marker="o", ms=5, lw=1, label="Pareto-optimal: filled")
    legend_beside(axes[1])
    return save(figure, pd.concat(data), folder, "pareto")
