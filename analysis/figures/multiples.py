"""What every method generates at a tenth, once, ten and a hundred times its tuned learning rate: Figure 8."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure

from analysis.data.pictures import content_of, pictures_of, with_pictures
from analysis.data.table import Study
from analysis.figures.elements import metric_words
from analysis.figures.look import current
from analysis.figures.picture_grid import INCH, Cell, draw_cell, empty, show
from analysis.figures.style import REFERENCE, figure_style, method_styles, save
from analysis.statistics.curves import GRID_TOLERANCE
from study.storage.tuned import tuned_lr

CAPTION = (
    "One test example at a tenth, once (framed), ten and a hundred times each method's tuned learning rate, "
    "from the same noise (compare the paper's Figure 8); left, what is no method's. Where the grid ends "
    "before, its last rate is shown and named. Below each picture is its run's test score over all examples."
)

TIMES = (0.1, 1.0, 10.0, 100.0)
"""Of the tuned rate."""


@figure_style()
def draw_multiples(study: Study, folder: Path) -> Path | None:
    """One example of the first seed, rows methods; None where runs were not trained or kept no pictures.

    Raises:
        UsageError: if a run's pictures are not there, or are not what the run wrote.
    """
    cells = at_multiples(study)
    if not cells:
        return None
    rows = max(cell.row for cell in cells) + 1
    inches, height = current().inches, INCH * 1.22 * rows + 1.1
    width = INCH * (len(TIMES) + 2.3) + 1.0
    size = (width, height) if inches is None else (inches, inches * height / width)
    figure = Figure(figsize=size, layout="constrained")
    draw_grid(figure, study, cells)
    runs = study.runs
    title = "Generated at multiples of the tuned learning rate"
    figure.suptitle("\n".join(filter(None, (title, content_of(runs)))))
    columns = ["label", "method", "lr", "seed", "run_id", "status", "test"]
    data = pd.DataFrame([cell.run[columns] for cell in cells]).assign(
        row=[cell.row for cell in cells], times=[TIMES[cell.column] for cell in cells], example=0
    )
    return save(figure, data, folder, "multiples")


def at_multiples(study: Study) -> list[Cell]:
    """Each label's run of the first seed at each of TIMES its tuned rate that its grid has."""
    runs = with_pictures(study)
    runs = runs[runs["steps"] > 0]
    runs = runs[runs["seed"] == runs["seed"].min()]
    cells, row = [], 0
    for label in study.labels:
        of_label = runs[runs["label"] == label]
        if of_label.empty:
            continue
        tuned = tuned_lr(study.of(label))
        for column, times in enumerate(TIMES):
            run, text = _at(of_label, tuned, times)
            if run is not None:
                cells.append(Cell(row, column, run, text, tuned=times == 1))
        row += 1
    return cells


def _at(runs: pd.DataFrame, tuned: float, times: float) -> tuple[pd.Series | None, str]:
    """The run at so many times the tuned rate, and what is said of it.

    Where the grid ends before, that at its end, which is named, if no nearer column shows it.
    """
    decades = np.log10(runs["lr"].astype(float) / tuned)
    asked, nearer = np.log10(times), np.log10(times) - np.sign(np.log10(times))
    between = np.sign(asked) * (decades - nearer) > GRID_TOLERANCE
    within = np.sign(asked) * (asked - decades) > -GRID_TOLERANCE
    near = decades[between & within] if times != 1 else decades[decades.abs() < GRID_TOLERANCE]
    if near.empty:
        return None, ""
    run = runs.loc[(near - asked).abs().idxmin()]
    score, off = f"{run['test']:.2f}", (near - asked).abs().min()
    return run, score if off < GRID_TOLERANCE else f"{run['lr'] / tuned:.2g}x: {score}"


def draw_grid(
    figure: Figure | SubFigure, study: Study, cells: Sequence[Cell], example: int = 0, text: bool = True
) -> None:
    """The cells as a grid of pictures; on its left, in the first rows, what is no method's.

    Args:
        example: which of those that runs kept.
        text: whether it says scores, and of what.
    """
    rows = max(cell.row for cell in cells) + 1
    labels = {cell.row: str(cell.run["label"]) for cell in cells}
    styles = method_styles(study.labels, study.method_of)
    kept = pictures_of(study, cells[0].run)
    *given, generated = kept
    grid = figure.subplots(rows, 1 + len(TIMES), squeeze=False)
    for axes in grid.flat:
        empty(axes)
    for axes, kind in zip(grid[:, 0], given, strict=False):
        show(axes, kept[kind][example])
        axes.set_title(kind)
    for column, times in enumerate(TIMES, start=1):
        grid[0, column].set_title(f"{times:g}x")
    drawn = {(cell.row, cell.column): cell for cell in cells}
    for row, label in labels.items():
        grid[row, 1].set_ylabel(styles[label].title, rotation=0, ha="right", va="center")
        for column in range(len(TIMES)):
            axes, cell = grid[row, column + 1], drawn.get((row, column))
            if cell is None:
                _draw_nothing(axes)
                continue
            picture = pictures_of(study, cell.run)[generated][example]
            draw_cell(axes, cell, picture, styles[label], crossed=False)  # what is destroyed is the question
            if not text:  # but where it is not the rate that the column says
                axes.set_xlabel(cell.text.rpartition(": ")[0], fontsize=8, labelpad=2)
    below = f"; below each picture: test {metric_words(study.runs)}" if text else ""
    figure.supxlabel(f"times the tuned learning rate{below}", fontsize="medium")


def _draw_nothing(axes: Axes) -> None:
    axes.text(0.5, 0.5, "–", ha="center", va="center", color=REFERENCE, transform=axes.transAxes)
