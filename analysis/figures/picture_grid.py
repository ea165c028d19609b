"""Pictures that runs kept as the cells of a grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.figures.style import MethodStyle

INCH = 0.95
"""Width of a picture."""


@dataclass(frozen=True)
class Cell:
    """A run's picture and its place in the grid.

    tuned: whether it is framed.
    """

    row: int
    column: int
    run: pd.Series
    text: str
    tuned: bool = False


def draw_cell(axes: Axes, cell: Cell, picture: np.ndarray, style: MethodStyle, crossed: bool = True) -> None:
    """The picture with its text below, framed if its rate is the tuned one, and if `crossed` with a cross if
    its run diverged."""
    show(axes, picture)
    axes.set_xlabel(cell.text, fontsize=8, labelpad=2)
    if crossed and cell.run["status"] == "diverged":
        axes.plot([0.06, 0.94], [0.06, 0.94], color="red", lw=1.2, transform=axes.transAxes)
        axes.plot([0.06, 0.94], [0.94, 0.06], color="red", lw=1.2, transform=axes.transAxes)
    if cell.tuned:
        for spine in axes.spines.values():
            spine.set(visible=True, color=style.colour, linewidth=2.5)


def show(axes: Axes, picture: np.ndarray) -> None:
    """A picture, (3, height, width), with its pixels as they are."""
    axes.imshow(picture.transpose(1, 2, 0), interpolation="nearest")


def empty(axes: Axes) -> None:
    axes.set(xticks=[], yticks=[])
    axes.grid(False)
    for spine in axes.spines.values():
        spine.set_visible(False)
