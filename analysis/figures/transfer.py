"""What a learning rate loses on tasks that it was not tuned on; how often a method is near the best."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from analysis.data.names import label_name
from analysis.figures.explorable import explain
from analysis.figures.style import columns_of, figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.bootstrap import percentile_interval
from analysis.statistics.transfer import Transfer, Travel, profile

MATRIX_CAPTION = (
    "What is lost on one task (columns) by the learning rate that was tuned on another (rows), in percent of "
    "what can be gained there: 0 is a guess, 100 the best method's tuned test score. Tuning is on "
    "validation, losses are on test. Grey: never run at that rate."
)
PROFILE_CAPTION = (
    "Performance profiles: the share of tasks on which a method is at most so far below the best method's "
    "tuned test score, in percent of what can be gained there. Left, each task has its own tuned rate; "
    "right, one rate for all tasks is chosen without the task that is tested. Higher is better."
)

TAUS = np.linspace(0, 1, 201)
PANELS = {"gap": "tuned on each task", "left_out_gap": "one rate, tuned on the other tasks"}


@figure_style()
def draw_matrices(found: Transfer, method_of: Mapping[str, str], folder: Path) -> Path:
    """A matrix per label, tasks by tasks; see MATRIX_CAPTION."""
    labels, count = list(found.by_label), len(found.tasks)
    columns = min(len(labels), columns_of(3))
    rows = -(-len(labels) // columns)
    side = 0.5 * count + 1.5
    figure, grid = subplots(rows, columns, size=(side * columns + 0.8, side * rows), squeeze=False)
    worst = max(np.nanmax(travel.matrix[0]) for travel in found.by_label.values())
    image, data = None, []
    for panel, label in zip(grid.flat, labels, strict=False):
        travel = found.by_label[label]
        image = _draw_matrix(panel, travel.matrix[0], found.tasks, max(worst, 0.01))
        mean, low, high = percentile_interval(100 * travel.mean_regret)
        name = label_name(label, method_of[label]).replace("$", r"\$")
        panel.set_title(f"{name}: {mean:.1f} [{low:.1f}, {high:.1f}]")
        data.append(_matrix_rows(travel, found.tasks).assign(label=label))
    for unused in grid.flat[len(labels) :]:
        unused.set_visible(False)
    assert image is not None
    figure.colorbar(image, ax=grid, label="lost, percent of what can be gained")
    figure.suptitle("A learning rate tuned on one task, used on another (above: mean loss)")
    return save(figure, pd.concat(data), folder, "transfer")


def _draw_matrix(axes: Axes, regret: np.ndarray, tasks: list[str], worst: float) -> AxesImage:
    colours = matplotlib.colormaps["YlOrRd"].with_extremes(bad="#DDDDDD")
    image = axes.imshow(np.ma.masked_invalid(100 * regret), cmap=colours, vmin=0, vmax=100 * worst)
    axes.grid(False)
    for (row, column), value in np.ndenumerate(regret):
        if np.isfinite(value) and row != column:
            colour = "white" if value > 0.6 * worst else "black"
            axes.text(
                column, row, f"{round(100 * value) + 0:d}", ha="center", va="center", color=colour, fontsize=8
            )
    axes.set_xticks(range(len(tasks)), labels=tasks, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(tasks)), labels=tasks, fontsize=8)
    axes.set(xlabel="used on", ylabel="tuned on")
    return image


def _matrix_rows(travel: Travel, tasks: list[str]) -> pd.DataFrame:
    rows = []
    for a, source in enumerate(tasks):
        for b, target in enumerate(tasks):
            regret, low, high = percentile_interval(travel.matrix[:, a, b])
            row = {"tuned_on": source, "used_on": target, "lr": travel.lrs[a]}
            rows.append(row | {"regret": regret, "low": low, "high": high})
    return pd.DataFrame(rows)


@figure_style()
def draw_profiles(found: Transfer, method_of: Mapping[str, str], folder: Path) -> Path:
    """A line per label in each of two panels; see PROFILE_CAPTION."""
    labels = list(found.by_label)
    styles = method_styles(labels, {label: method_of[label] for label in labels})
    figure, grid = subplots(1, len(PANELS), size=(9.5, 3.4), sharey=True)
    data = []
    for panel, (name, title) in zip(grid, PANELS.items(), strict=True):
        for label in labels:
            shares = profile(getattr(found.by_label[label], name), TAUS)
            means, lows, highs = np.array([percentile_interval(shares[:, k]) for k in range(len(TAUS))]).T
            style = styles[label]
            (line,) = panel.plot(100 * TAUS, 100 * means, style.line, color=style.colour, label=style.title)
            texts = [f"at most {100 * tau:.3g} below the best" for tau in TAUS]
            texts = [f"{text}\n{100 * mean:.0f} % of tasks" for text, mean in zip(texts, means, strict=True)]
            explain(line, texts)
            row = {"label": label, "rate": title, "gap": TAUS, "share": means, "low": lows, "high": highs}
            data.append(pd.DataFrame(row))
        panel.set(title=title, xlabel="below the best, percent of what can be gained", ylim=(-3, 103))
    grid[0].set_ylabel("percent of tasks")
    legend_beside(grid[-1])
    figure.suptitle(f"Performance profiles over {len(found.tasks)} tasks")
    return save(figure, pd.concat(data), folder, "profile")
