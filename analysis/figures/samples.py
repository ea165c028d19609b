"""What runs generated for one and the same control map, in a grid: of trained ones by learning rate, of
randomly transformed ones by distance (the paper's Figure 3)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.figure import Figure, SubFigure

from analysis.data.pictures import content_of, pictures_of, with_pictures
from analysis.data.table import Study
from analysis.figures.elements import methods_of, metric_words
from analysis.figures.look import current
from analysis.figures.picture_grid import INCH, Cell, draw_cell, empty, show
from analysis.figures.style import figure_style, method_styles, save
from study.storage.tuned import tuned_lr

if TYPE_CHECKING:
    from study.storage.pictures import Pictures

CAPTION = (
    "One test example as every method generates it, from the same noise; left, what was asked for and the "
    "real picture. After training: columns are learning rates, a frame marks the tuned one, a red cross a "
    "diverged run. Without training: random transformations, columns by growing distance of the weights "
    "(compare the paper's Figure 3); a row ends where its method's distances end. Below each picture is its "
    "run's test score over all examples."
)

EXAMPLE = 0
"""Of the examples that a run keeps; the same for every run."""

DISTANCES = 8
"""Columns of growing distance."""

GROWING = "growing distance of the weights from the pretrained ones (Frobenius norm, mean over layers)"


@figure_style()
def draw_samples(study: Study, folder: Path) -> Path | None:
    """One example as the runs generated it, rows methods; None where runs kept no pictures.

    Columns are learning rates or, of runs that were not trained, distances of the weights from the pretrained
    ones. Shown is the first seed; by distance, every seed that was asked for the same.

    Raises:
        UsageError: if a run's pictures are not there, or are not what the run wrote.
    """
    runs = with_pictures(study)
    if runs.empty:
        return None
    untrained = bool((runs["steps"] == 0).all())
    if untrained:
        rows = methods_of(runs)
        styles = method_styles(rows, {method: method for method in rows})
        cells, heads = _by_distance(_asked_the_same(study, runs), rows), [""] * DISTANCES
    else:
        rows = [label for label in study.labels if label in set(runs["label"])]
        styles = method_styles(study.labels, study.method_of)
        cells, heads = _by_rate(study, runs, rows), [f"{lr:.3g}" for lr in sorted(runs["lr"].unique())]
    kept = pictures_of(study, cells[0].run)
    *given, generated = kept
    height = max(len(rows), len(given))
    figure = Figure(figsize=_size(len(heads), height), layout="constrained")
    halves = figure.add_gridspec(1, 2, width_ratios=[1.3, len(heads) + 1.0])
    left, right = (figure.add_subfigure(halves[0, half]) for half in range(2))
    _draw_given(left, kept, given, height)
    grid = right.subplots(len(rows), len(heads), squeeze=False)
    for axes in grid.flat:
        empty(axes)
    for cell in cells:
        picture = pictures_of(study, cell.run)[generated][EXAMPLE]
        draw_cell(grid[cell.row, cell.column], cell, picture, styles[rows[cell.row]])
    for label, axes in zip(rows, grid[:, 0], strict=True):
        axes.set_ylabel(styles[label].title, rotation=0, ha="right", va="center")
    every = 3 if current().width == "column" else 1  # there is no room for more
    for index in range(0, len(heads), every):
        grid[0, index].set_title(heads[index])
    what_below = f"{'distance, ' if untrained else ''}test {metric_words(runs)}"
    across = GROWING if untrained else "learning rate"
    between = "\n" if untrained else "; "  # two lines, for a width that pictures decide
    right.supxlabel(f"{across}{between}below each picture: {what_below}")
    what = "Random, untrained transformations" if untrained else "Generated after training"
    figure.suptitle("\n".join(filter(None, (what, content_of(runs)))))
    columns = ["label", "method", "lr", "seed", "run_id", "status", "weight_distance", "test"]
    data = pd.DataFrame([cell.run[columns] for cell in cells]).assign(
        row=[cell.row for cell in cells], column=[cell.column for cell in cells], example=EXAMPLE
    )
    return save(figure, data, folder, "samples")


def _size(columns: int, rows: int) -> tuple[float, float]:
    """Width and height in inches of a grid of pictures, and of those on its left."""
    inches, beside = current().inches, 2.3
    if inches is None:
        return INCH * (columns + beside) + 1.0, INCH * 1.22 * rows + 1.1
    cell = (inches - 0.7) / (columns + beside)
    return inches, (cell + 0.2) * rows + 0.6


def _by_rate(study: Study, runs: pd.DataFrame, rows: list[str]) -> list[Cell]:
    """The first seed at every rate."""
    rates = sorted(runs["lr"].unique())
    cells = []
    for row, label in enumerate(rows):
        tuned = tuned_lr(study.of(label))
        of_label = runs[runs["label"] == label].sort_values(["lr", "seed"]).drop_duplicates("lr")
        for _, run in of_label.iterrows():
            cells.append(Cell(row, rates.index(run["lr"]), run, f"{run['test']:.2f}", run["lr"] == tuned))
    return cells


def _asked_the_same(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs of the seeds asked for what the first was: where subjects differ, each has its own."""

    def asked(run: pd.Series) -> list[bytes]:
        *given, _ = (pictures[EXAMPLE].tobytes() for pictures in pictures_of(study, run).values())
        return given

    asked_by_seed = {run["seed"]: asked(run) for _, run in runs.drop_duplicates("seed").iterrows()}
    first = asked_by_seed[min(asked_by_seed)]
    return runs[[asked_by_seed[seed] == first for seed in runs["seed"]]]


def _by_distance(runs: pd.DataFrame, rows: list[str]) -> list[Cell]:
    """For each of DISTANCES steps on a logarithmic scale, every method's run nearest to it, if any."""
    distance = runs["weight_distance"].astype(float)
    runs = runs[np.isfinite(distance) & (distance > 0)]
    logs = np.log10(runs["weight_distance"].astype(float))
    places = np.linspace(logs.min(), logs.max(), DISTANCES)
    off = np.abs(logs.to_numpy()[:, None] - places)
    runs = runs.assign(place=off.argmin(1), off=off.min(1)).sort_values(["off", "seed"], kind="stable")
    nearest = runs.drop_duplicates(["method", "place"])
    cells = []
    for _, run in nearest.sort_values(["rank", "place"]).iterrows():
        text = f"{run['weight_distance']:.2g}, {run['test']:.2f}"
        cells.append(Cell(rows.index(run["method"]), int(run["place"]), run, text))
    return cells


def _draw_given(figure: SubFigure, kept: Pictures, given: list[str], height: int) -> None:
    """What was asked for, and the real picture, one above the other, in the first of `height` rows."""
    axes = figure.subplots(height, 1, squeeze=False)
    for panel in axes.flat:
        empty(panel)
    for panel, kind in zip(axes.flat, given, strict=False):
        show(panel, kept[kind][EXAMPLE])
        panel.set_title(kind)
