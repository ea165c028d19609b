"""Score over learning rate and one further setting, and where the best rate lies: `rank_lr` and its kind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.image import AxesImage

from analysis.data.metrics import metric_title
from analysis.data.names import label_name
from analysis.data.scores import direction, scores
from analysis.data.second_axis import SecondAxis, second_axes
from analysis.data.table import Study
from analysis.figures.look import current
from analysis.figures.style import columns_of, figure_style, save, subplots
from analysis.statistics.curves import Array, below
from analysis.statistics.optimum_path import OptimumPath, optimum_path

CAPTION = (
    "Mean test score over learning rate and one more setting. The line is where the best rate lies, chosen "
    "on validation and refined between the grid's rates, with 95 % intervals; hollow where it is at an end "
    "of the grid, and so may lie beyond. White outline: within 5 % of the method's best. Large crosses: all "
    "runs diverged; small ones: some did. Grey: nothing was run."
)

SHARE = 0.05
"""What the outlined cells may lose of the best score."""


def path_of(axis: SecondAxis) -> OptimumPath:
    """Where the best rate of the axis lies, and by how much it moves."""
    numbers = axis.runs[np.isfinite(axis.runs["axis_value"])]
    by_value = {float(str(value)): scores(rows) for value, rows in numbers.groupby("axis_value")}
    return optimum_path(by_value, direction(axis.runs))


@figure_style()
def draw_two_axes(study: Study, folder: Path) -> Path | None:
    """A heatmap per method that has a second axis; None where none has."""
    axes = second_axes(study.runs)
    if not axes:
        return None
    columns = min(len(axes), columns_of(3))
    rows = -(-len(axes) // columns)
    tallest = max(len(axis.rows) for axis in axes)
    figure, grid = subplots(
        rows, columns, size=(3.6 * columns + 0.8, (0.34 * tallest + 1.6) * rows), squeeze=False
    )
    cells = [_cells(axis) for axis in axes]
    means = pd.concat(cells)["mean"]
    image, data = None, []
    for panel, axis, of_axis in zip(grid.flat, axes, cells, strict=False):
        path = path_of(axis)
        image = _draw_scores(panel, axis, of_axis, (means.min(), means.max()))
        _draw_path(panel, axis, path)
        _describe(panel, axis, path)
        places = path.places.rename(columns={"value": "axis_value"})
        data.append(of_axis.merge(places, how="left", on="axis_value"))
    for unused in grid.flat[len(axes) :]:
        unused.set_visible(False)
    assert image is not None
    figure.colorbar(image, ax=grid, label=f"test {metric_title(study.runs)}")
    figure.suptitle("Does the best learning rate move?")
    return save(figure, pd.concat(data), folder, "two_axes")


def _cells(axis: SecondAxis) -> pd.DataFrame:
    """Of each value and rate: mean test score, seeds, how many diverged, whether it is outlined."""
    by = ["axis_text", "axis_value", "lr"]
    grouped = axis.runs.groupby(by, dropna=False)
    cells = grouped["test"].agg(mean="mean", seeds="count").reset_index()
    diverged = grouped["status"].agg(lambda status: (status == "diverged").sum())
    cells["diverged"] = diverged.to_numpy()
    sign = direction(axis.runs)
    cells["near_best"] = sign * cells["mean"] >= float(below(np.asarray((sign * cells["mean"]).max()), SHARE))
    return cells.assign(method=axis.method, others=axis.others, axis=axis.name)


def _table(axis: SecondAxis, cells: pd.DataFrame, column: str) -> Array:
    """(values, rates), nan where there is no cell."""
    table = cells.pivot(index="axis_text", columns="lr", values=column).reindex(index=axis.rows)
    return table.to_numpy(dtype=float)


def _draw_scores(axes: Axes, axis: SecondAxis, cells: pd.DataFrame, limits: tuple[float, float]) -> AxesImage:
    colours = matplotlib.colormaps["viridis"].with_extremes(bad="#DDDDDD")
    table = np.ma.masked_invalid(_table(axis, cells, "mean"))
    image = axes.imshow(table, cmap=colours, vmin=limits[0], vmax=limits[1], aspect="auto", origin="lower")
    axes.grid(False)
    share = _table(axis, cells, "diverged") / _table(axis, cells, "seeds")
    for wanted, size in ((share == 1, 9.0), ((share > 0) & (share < 1), 4.0)):
        rows, columns = np.nonzero(wanted)
        axes.plot(columns, rows, "x", color="#FF6B6B", ms=size, mew=1.5, label="_diverged")
    _outline(axes, np.nan_to_num(_table(axis, cells, "near_best")) > 0)
    return image


def _outline(axes: Axes, inside: np.ndarray) -> None:
    """A line between each cell inside and each neighbour outside; inside: (values, rates)."""
    padded, edges = np.pad(inside, 1), []
    for row, column in zip(*np.nonzero(inside), strict=True):
        for down, right in ((0, 1), (0, -1), (1, 0), (-1, 0)):
            if not padded[row + 1 + down, column + 1 + right]:
                x, y = column + right / 2, row + down / 2
                along, up = (0.0, 0.5) if right else (0.5, 0.0)
                edges.append([(x - along, y - up), (x + along, y + up)])
    for colour, width in (("black", 2.8), ("white", 1.4)):  # seen on light cells and on dark ones
        axes.add_collection(LineCollection(edges, colors=colour, linewidths=width, capstyle="round"))


def _draw_path(axes: Axes, axis: SecondAxis, path: OptimumPath) -> None:
    """The best rates, at their place between the columns of the rates."""
    rates = np.log10(np.sort(axis.runs["lr"].unique()).astype(float))

    def column(lr: pd.Series) -> Array:
        return np.interp(np.log10(lr.astype(float)), rates, np.arange(len(rates)))

    text_of = axis.runs.drop_duplicates("axis_value").set_index("axis_value")["axis_text"]
    row = np.array([axis.rows.index(text_of[value]) for value in path.places["value"]])
    x = column(path.places["best_lr"])
    spread = np.array([x - column(path.places["best_lr_low"]), column(path.places["best_lr_high"]) - x])
    spread = np.maximum(np.nan_to_num(spread), 0)
    bars: dict[str, Any] = {
        "fmt": "-",
        "color": "black",
        "lw": 1.4,
        "elinewidth": 1.0,
        "capsize": 2,
        "label": "_best rate",
    }
    axes.errorbar(x, row, xerr=spread, **bars)
    at_end = (path.places["end"] != "").to_numpy()
    for which, face in ((~at_end, "black"), (at_end, "white")):
        axes.plot(x[which], row[which], "o", color="black", mfc=face, ms=5, label="_best rate")


def _describe(axes: Axes, axis: SecondAxis, path: OptimumPath) -> None:
    rates = np.sort(axis.runs["lr"].unique())
    texts = [f"{rate:.0e}".replace("e-0", "e-").replace("e+00", "") for rate in rates]
    small: dict[str, Any] = {"size": 7} if current().width else {}
    axes.set_xticks(range(len(rates)), labels=texts, rotation=45, **small)
    axes.set_yticks(range(len(axis.rows)), labels=axis.rows)
    name = " ".join(filter(None, [label_name(axis.method, axis.method), axis.others]))
    axes.set(xlabel="learning rate", ylabel=axis.name.replace("_", " "))
    slope = f"{path.text} decades per doubling" if not path.why_not else "no slope"
    axes.set_title(f"{name}\n{slope}".replace("$", r"\$"), fontsize=9 if not current().width else 8)
