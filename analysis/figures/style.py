"""How figures look and how they are kept: one colour, marker and name per method, everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
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

plt.rcParams.update(
    {
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
)


@dataclass(frozen=True)
class Look:
    colour: str
    marker: str
    name: str

    @property
    def title(self) -> str:
        """The name as matplotlib text: a dollar sign is itself, not the start of a formula."""
        return self.name.replace("$", r"\$")


def looks(labels: list[str], method_of: dict[str, str]) -> dict[str, Look]:
    """A look for each label; labels without a fixed one take the others in turn."""
    found: dict[str, Look] = {}
    taken: set[str] = set()
    spare = 0
    for label in labels:
        method = method_of[label]
        name = NAMES.get(method, method) + label.removeprefix(method)
        if method in COLOURS and method not in taken:
            found[label] = Look(COLOURS[method], MARKERS[method], name)
            taken.add(method)
        else:
            colour = OTHER_COLOURS[spare % len(OTHER_COLOURS)]
            marker = OTHER_MARKERS[(spare + spare // len(OTHER_COLOURS)) % len(OTHER_MARKERS)]
            found[label] = Look(colour, marker, name)
            spare += 1
    return found


def panels(count: int, columns: int, width: float = 2.3, height: float = 2.3) -> tuple[Figure, list[Axes]]:
    """A grid of `count` panels that share their axes."""
    columns = min(columns, count)
    rows = -(-count // columns)
    figure, axes = plt.subplots(
        rows,
        columns,
        figsize=(width * columns + 0.6, height * rows + 0.5),
        sharex=True,
        sharey=True,
        squeeze=False,
        layout="constrained",
    )
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
    plt.close(figure)
    return folder / f"{name}.png"
