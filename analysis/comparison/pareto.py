"""Score and sensitivity against trained parameters, and which methods no other dominates."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

from analysis.comparison.compared import Compared
from analysis.comparison.costs import costs_table
from analysis.comparison.table import figures_by_seed
from analysis.data.scores import direction
from analysis.figures.elements import metric_of
from analysis.figures.style import REFERENCE, figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.curves import Array
from analysis.statistics.intervals import mean_interval

CAPTION = (
    "Score and sensitivity against trained parameters: means over seeds with 95 % Student intervals. Filled: "
    "no other method has both fewer (or as many) parameters and a better (or equal) mean; the line joins "
    "those. The front goes by means alone and is no test; the table below is."
)


def pareto_front(parameters: Array, goodness: Array) -> NDArray[np.bool_]:
    """Which of n points no other dominates: (n,), (n,) -> (n,); fewer parameters and more good win.

    A point dominates another if it is nowhere worse and somewhere better; nan is never on the front.
    """
    fewer = parameters[:, None] <= parameters
    better = goodness[:, None] >= goodness
    strict = (parameters[:, None] < parameters) | (goodness[:, None] > goodness)
    return ~(fewer & better & strict).any(0) & np.isfinite(parameters) & np.isfinite(goodness)


def pareto_points(
    by_seed: dict[str, pd.DataFrame], sizes: pd.Series, quantity: str, sign: float
) -> pd.DataFrame:
    """Columns label, parameters, mean over seeds with Student interval (nan with one seed), optimal.

    Args:
        by_seed: label -> `paired.by_seed` of its runs.
        sizes: trained parameters by label.
        sign: 1 where more of the quantity is better, else -1.
    """
    rows = []
    for label, table in by_seed.items():
        values = table[quantity].dropna().to_numpy(dtype=float)
        mean, low, high = mean_interval(values) if len(values) else (np.nan,) * 3
        rows.append((quantity, label, sizes[label], len(values), mean, low, high))
    columns = ["quantity", "label", "parameters", "seeds", "value", "low", "high"]
    points = pd.DataFrame(rows, columns=columns).replace([np.inf, -np.inf], np.nan)
    optimal = pareto_front(points["parameters"].to_numpy(float), sign * points["value"].to_numpy(float))
    return points.assign(optimal=optimal)


@figure_style()
def draw_pareto(study: Compared, folder: Path) -> Path:
    """Tuned test score, and sensitivity, against parameters; see CAPTION."""
    by_seed, styles = figures_by_seed(study), method_styles(study.labels, study.method_of)
    sizes = costs_table(study).set_index("label")["parameters"]
    sign = direction(study.runs)
    titles = {
        "tuned_test": f"tuned test {metric_of(study.runs)}{'' if sign > 0 else ' (lower is better)'}",
        "regret_window": "sensitivity: mean regret\nover ±1.5 decades (lower is better)",
    }
    figure, axes = subplots(1, 2, size=(9.2, 3.8))
    data = []
    for panel, (quantity, title) in zip(axes, titles.items(), strict=True):
        points = pareto_points(by_seed, sizes, quantity, sign if quantity == "tuned_test" else -1.0)
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
