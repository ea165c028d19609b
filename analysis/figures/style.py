"""How figures look and how they are saved: one colour, marker and name per method, everywhere.

Figures are made without pyplot: it keeps every figure in a list of its own and chooses a backend for the
whole process, which is the importer's affair.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

NAMES = {"ether": "ETHER", "ether_plus": "ETHER+", "lora": "LoRA", "oft": "OFT", "naive": "Naive"}
# Okabe and Ito's palette, which the colour-blind can tell apart.
COLOURS = {
    "ether": "#0072B2",
    "ether_plus": "#009E73",
    "lora": "#D55E00",
    "oft": "#CC79A7",
    "naive": "#E69F00",
}
MARKERS = {"ether": "o", "ether_plus": "s", "lora": "^", "oft": "D", "naive": "v"}
OTHER_COLOURS = ["#56B4E9", "#000000", "#8C564B", "#7F7F7F", "#BCBD22", "#17BECF", "#4B0082"]
OTHER_MARKERS = ["P", "X", "<", ">", "p", "h", "*"]

REFERENCE = "#666666"

SETTINGS: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E6E6E6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.dpi": 150,
    "svg.hashsalt": "ether-study",
}
"""Of matplotlib, see `figure_style`."""


@contextlib.contextmanager
def figure_style() -> Iterator[None]:
    """Within it, and within a function that it decorates, matplotlib has SETTINGS.

    Both making a figure and saving it read them, so it decorates functions that do both.
    """
    with matplotlib.rc_context(SETTINGS):
        yield


@dataclass(frozen=True)
class MethodStyle:
    colour: str
    marker: str
    name: str

    @property
    def title(self) -> str:
        """The name as matplotlib text: a dollar sign is itself, not the start of a formula."""
        return self.name.replace("$", r"\$")


def method_styles(labels: list[str], method_of: dict[str, str]) -> dict[str, MethodStyle]:
    """A style for each label; labels without a fixed one take the others in turn."""
    styles: dict[str, MethodStyle] = {}
    taken: set[str] = set()
    spare = 0
    for label in labels:
        method = method_of[label]
        name = NAMES.get(method, method) + label.removeprefix(method)
        if method in COLOURS and method not in taken:
            styles[label] = MethodStyle(COLOURS[method], MARKERS[method], name)
            taken.add(method)
        else:
            colour = OTHER_COLOURS[spare % len(OTHER_COLOURS)]
            marker = OTHER_MARKERS[(spare + spare // len(OTHER_COLOURS)) % len(OTHER_MARKERS)]
            styles[label] = MethodStyle(colour, marker, name)
            spare += 1
    return styles


def subplots(rows: int = 1, columns: int = 1, *, size: tuple[float, float], **options: Any) -> Any:
    """A figure of `size` inches and its axes, as `matplotlib.pyplot.subplots` returns them."""
    figure = Figure(figsize=size, layout="constrained")
    return figure, figure.subplots(rows, columns, **options)


def panels(count: int, columns: int, width: float = 2.3, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """A grid of `count` panels that share their axes."""
    columns = min(columns, count)
    rows = -(-count // columns)
    size = (width * columns + 0.6, height * rows + 0.5)
    figure, axes = subplots(rows, columns, size=size, sharex=True, sharey=True, squeeze=False)
    flat = list(axes.flat)
    for unused in flat[count:]:
        unused.set_visible(False)
    return figure, flat[:count]


def legend_beside(axes: Axes) -> None:
    """The legend right of the panel, where it covers no data; none if nothing has a label."""
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))


def save(figure: Figure, data: pd.DataFrame, folder: Path, name: str) -> Path:
    """Writes `name`.png, .pdf and a .csv of what is plotted; the same records give the same files."""
    folder.mkdir(parents=True, exist_ok=True)
    data.to_csv(folder / f"{name}.csv", index=False)
    figure.savefig(folder / f"{name}.png", metadata={"Software": None})
    figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None, "Producer": None})
    return folder / f"{name}.png"
