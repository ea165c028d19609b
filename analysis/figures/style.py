"""How figures look and how they are saved: one colour, marker and name per method, everywhere.

Figures are made without pyplot: it keeps every figure in a list of its own and chooses a backend for the
whole process, which is the importer's affair. What a user asked for (width in print, highlights, order) is
in force as the `look`.
"""

from __future__ import annotations

import contextlib
import io
import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from analysis.data.names import METHODS, label_name
from analysis.figures.explorable import write_explorable
from analysis.figures.look import POINTS, current
from analysis.figures.palette import COLOURS, DISTINCT, MUTED, colours_of, shades
from analysis.figures.svg import shorter

__all__ = [
    "COLOURS", "MARKERS", "NAMES", "REFERENCE", "MethodStyle", "figure_style", "legend_beside",
    "method_styles", "panels", "save", "save_still", "subplots",
]  # fmt: skip

NAMES = METHODS
MARKERS = {"ether": "o", "ether_plus": "s", "lora": "^", "oft": "D", "naive": "v", "full": "X"}
OTHER_MARKERS = ["P", "<", ">", "p", "h", "*", "d", "8"]
LINES = ["-", "--", "-.", ":"]
"""Of a method's variants."""

REFERENCE = "#666666"

MANY = 7
"""Methods that one panel can show in colour; of more, some are highlighted and the others grey."""

PROPOSED = ("ether", "ether_plus")
"""Whom a panel with too many methods highlights, beside the first."""

LEAST_PANEL = 2.2
"""Inches that a panel with axes of its own needs in print; narrower ones go below each other."""

LINE = 20
"""Letters in a line of an upright axis label in print."""

SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "figure.titlesize": 11,
    "legend.fontsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 150,
    "pdf.fonttype": 42,  # TrueType, as venues ask for, not matplotlib's usual Type 3
    "ps.fonttype": 42,
    "svg.hashsalt": "ether-study",
}
"""Of matplotlib, see `figure_style`."""

TEXT_SIZES = (
    "font.size", "axes.titlesize", "axes.labelsize", "xtick.labelsize", "ytick.labelsize", "legend.fontsize",
    "figure.titlesize", "figure.labelsize",
)  # fmt: skip
PRINT_DPI = 300
PRINT_SETTINGS: dict[Any, Any] = dict.fromkeys(TEXT_SIZES, POINTS) | {
    "axes.linewidth": 0.6, "xtick.major.width": 0.6, "ytick.major.width": 0.6,
    "lines.linewidth": 1.2, "axes.titlepad": 3.0, "axes.labelpad": 2.0, "legend.columnspacing": 1.2,
    "legend.handlelength": 1.8,
}  # fmt: skip


@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Within it, and within a function that it decorates, matplotlib has SETTINGS, and in print its own.

    Both making a figure and saving it read them, so it decorates functions that do both.
    """
    with matplotlib.rc_context(SETTINGS | (PRINT_SETTINGS if current().width else {})):
        yield


@dataclass(frozen=True)
class MethodStyle:
    """How a label is drawn.

    muted: as one of many others, behind whoever is highlighted.
    """

    colour: str
    marker: str
    name: str
    line: str = "-"
    muted: bool = False

    @property
    def title(self) -> str:
        """The name as matplotlib text: a dollar sign is itself, not the start of a formula."""
        return self.name.replace("$", r"\$")


def method_styles(labels: list[str], method_of: dict[str, str]) -> dict[str, MethodStyle]:
    """A style for each label: its method's colour and, of a method's several labels, shades of it.

    With more than MANY methods only the first and PROPOSED stand out, unless the user highlights others.
    """
    methods = list(dict.fromkeys(method_of[label] for label in labels))
    colours = colours_of(methods)
    others = [method for method in methods if method not in MARKERS]
    markers = MARKERS | {m: OTHER_MARKERS[i % len(OTHER_MARKERS)] for i, m in enumerate(others)}
    crowded = len(methods) > MANY or len(labels) > DISTINCT
    asked = current().highlight
    styles: dict[str, MethodStyle] = {}
    for method in methods:
        variants = [label for label in labels if method_of[label] == method]
        for index, (label, colour) in enumerate(
            zip(variants, shades(colours[method], len(variants)), strict=True)
        ):
            muted = crowded and label != labels[0] and method not in PROPOSED
            if asked:
                muted = label not in asked
            styles[label] = MethodStyle(
                MUTED if asked and muted else colour,
                markers[method], label_name(label, method), LINES[index % len(LINES)], muted,
            )  # fmt: skip
    return {label: styles[label] for label in labels}


def subplots(rows: int = 1, columns: int = 1, *, size: tuple[float, float], **options: Any) -> Any:
    """A figure of `size` inches and its axes, as `matplotlib.pyplot.subplots` returns them.

    In print it has the asked-for width, in `size`'s proportions as far as text allows; panels that would
    be too narrow go below each other, unless they share axes.
    """
    width = current().inches
    if width is None:
        figure = Figure(figsize=size, layout="constrained")
        return figure, figure.subplots(rows, columns, **options)
    across = columns
    if not {"sharex", "sharey"} & set(options):
        across = max(1, min(columns, int(width / LEAST_PANEL)))
    down = rows * math.ceil(columns / across)
    height = min(max(width / across * size[1] / rows / (size[0] / columns), 1.7), 2.3)
    figure = Figure(figsize=(width, height * down + 0.35), layout="constrained")
    squeeze = options.pop("squeeze", True)
    grid = figure.subplots(down, across, squeeze=False, **options)
    per_row = math.ceil(columns / across)
    axes = np.empty((rows, columns), dtype=object)
    for row in range(rows):
        flat = list(grid[row * per_row : (row + 1) * per_row].flat)
        axes[row] = flat[:columns]
        for unused in flat[columns:]:
            unused.set_visible(False)
    if not squeeze:
        return figure, axes
    return figure, axes.item() if axes.size == 1 else axes.squeeze()


def panels(count: int, columns: int, width: float = 2.3, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """A grid of `count` panels that share their axes; in print as many beside each other as there is room."""
    columns = min(columns_of(columns), count)
    rows = -(-count // columns)
    inches = current().inches
    size = (width * columns + 0.6, height * rows + 0.5)
    if inches is not None:
        size = (inches, min(1.5, inches / columns) * rows + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    flat = list(axes.flat)
    for unused in flat[count:]:
        unused.set_visible(False)
    for lowest in flat[max(0, count - columns) : count]:  # nothing is below it, be there an empty place
        lowest.tick_params(labelbottom=True)
    return figure, flat[:count]


def columns_of(columns: int) -> int:
    """How many small panels stand beside each other: in a column of print no more than 3."""
    return min(columns, 3) if current().width == "column" else columns


def legend_beside(axes: Axes) -> None:
    """The legend right of the panel, where it covers no data, and in print below; none without labels."""
    handles, names = axes.get_legend_handles_labels()
    if not handles:
        return
    figure = axes.get_figure()
    if current().width and isinstance(figure, Figure):
        legend_below(figure, handles, names)
    else:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def legend_below(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    """The legend below all panels, in as many columns as there is room for."""
    longest = 0.0075 * matplotlib.rcParams["font.size"] * max(map(len, names)) + 0.35  # inches, about
    room = figure.get_size_inches()[0]
    columns = max(1, min(len(names), int(room / longest)))
    figure.legend(handles, names, loc="outside lower center", ncols=columns)


def save(figure: Figure, data: pd.DataFrame, folder: Path, name: str) -> Path:
    """Writes `name`.png, .pdf, .svg and a .csv of what is plotted; the same records give the same files.

    Beside them `name`.json, of which reports make the chart that one can explore, unless it has pictures.
    In print there is no title, for that is the caption's affair.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data.to_csv(folder / f"{name}.csv", index=False)
    if current().width:
        figure.suptitle("")
        for axes in figure.axes:
            axes.set_ylabel(textwrap.fill(axes.get_ylabel().replace("\n", " "), LINE))
    _save_pictures(figure, folder / name)
    write_explorable(figure, folder / f"{name}.json")
    return folder / f"{name}.png"


def save_still(figure: Figure, data: pd.DataFrame, folder: Path, name: str) -> Path:
    """Writes `name`.svg and a .csv of what is plotted: one of very many figures, for a page that links to it.

    Returns:
        The SVG's path.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data.to_csv(folder / f"{name}.csv", index=False)
    _save_svg(figure, folder / name)
    return folder / f"{name}.svg"


def _save_pictures(figure: Figure, path: Path) -> None:
    """PNG, PDF and SVG. `Figure.savefig` would draw twice for each, and do the layout again."""
    screen = figure.dpi
    figure.dpi = PRINT_DPI if current().width else screen
    FigureCanvasAgg(figure).print_png(path.with_name(f"{path.name}.png"), metadata={"Software": None})
    figure.set_layout_engine("none")  # it is done
    metadata = {"CreationDate": None, "Producer": None}
    FigureCanvasPdf(figure).print_pdf(path.with_name(f"{path.name}.pdf"), metadata=metadata)
    _save_svg(figure, path)
    figure.dpi = screen


def _save_svg(figure: Figure, path: Path) -> None:
    text = io.StringIO()
    FigureCanvasSVG(figure).print_svg(text, metadata={"Date": None, "Creator": None})
    path.with_name(f"{path.name}.svg").write_text(shorter(text.getvalue()), encoding="utf-8")
