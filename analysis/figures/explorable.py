"""What a drawn figure shows, as data: of it reports make the chart that one can explore.

A figure is drawn once, with matplotlib; its lines, bands and points are read off the finished figure, so that
the chart in the page and the file in print cannot show different things. A line's label is its name in the
chart's legend; one that begins with an underscore, which keeps it out of matplotlib's own legend, is as good.
What a point tells beyond its place is given by `explain`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from analysis.figures.palette import MUTED


@dataclass(frozen=True)
class Explanation:
    """What the points of an artist tell.

    texts: one per point, lines separated by a newline. runs: the run_ids behind each point.
    """

    texts: list[str]
    runs: list[list[str]]


@dataclass
class Series:
    """A line, points or a band of one panel; see `Panel` for the unit of x and y.

    kind: `line`, `points` or `band`, a closed polygon. texts, runs: as of Explanation, or empty.
    """

    kind: str
    name: str
    x: list[float | None]
    y: list[float | None]
    colour: str
    dash: str = "solid"
    marker: str = ""
    width: float = 1.5
    size: float = 5.0
    opacity: float = 1.0
    muted: bool = False
    texts: list[str] = field(default_factory=list)
    runs: list[list[str]] = field(default_factory=list)


@dataclass
class Axis:
    """scale: `linear` or `log`. ticks: place -> text, where the scale is another one, drawn as linear."""

    label: str
    scale: str
    range: tuple[float, float]
    ticks: dict[float, str]


@dataclass
class Panel:
    """wide: whether it takes more than half of the figure's width."""

    title: str
    wide: bool
    x: Axis
    y: Axis
    series: list[Series]


_EXPLAINED: WeakKeyDictionary[Artist, Explanation] = WeakKeyDictionary()

DASHES = {"-": "solid", "--": "dash", ":": "dot", "-.": "dashdot"}
SYMBOLS = {
    "o": "circle", ".": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down",
    "<": "triangle-left", ">": "triangle-right", "D": "diamond", "d": "diamond-tall", "P": "cross",
    "X": "x", "x": "x-thin-open", "p": "pentagon", "h": "hexagon", "*": "star", "8": "octagon",
}  # fmt: skip
"""matplotlib's markers, and Plotly's names for them."""


def explain(artist: Artist, texts: Sequence[str], runs: Sequence[Sequence[str]] = ()) -> None:
    """Says what each point of a line or of markers tells when one hovers over it, and which runs it is of."""
    _EXPLAINED[artist] = Explanation(list(texts), [list(ids) for ids in runs])


def write_explorable(figure: Figure, path: Path) -> None:
    """Writes the drawn figure's panels as JSON; removes the file where it shows pictures, not curves."""
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]
    if not shown or any(axes.images for axes in shown) or figure.subfigs:
        path.unlink(missing_ok=True)
        return
    found = [panel_of(axes) for axes in shown]
    for panel in found:
        panel.y.label = panel.y.label or plain(figure.get_supylabel())
    name_by_colour(found)
    path.write_text(json.dumps(found, default=vars, separators=(",", ":")), encoding="utf-8")


def panel_of(axes: Axes) -> Panel:
    """What one panel shows."""
    bars = {
        container.lines[0]: container
        for container in axes.containers
        if isinstance(container, ErrorbarContainer)
    }
    series = [*bands(axes)]
    for line in axes.lines:
        if np.size(line.get_xdata()) and line.get_visible() and line not in _caps(bars.values()):
            series += [series_of(line, axes, bars.get(line))]
    series += [cloud_of(cloud, axes) for cloud in axes.collections if isinstance(cloud, PathCollection)]
    x, y = axis_of(axes, "x"), axis_of(axes, "y")
    return Panel(plain(axes.get_title()), bool(axes.get_position().width > 0.5), x, y, series)


def axis_of(axes: Axes, name: str) -> Axis:
    axis = axes.xaxis if name == "x" else axes.yaxis
    low, high = axes.get_xlim() if name == "x" else axes.get_ylim()
    scale, ticks = axis.get_scale(), {}
    if scale not in ("linear", "log"):
        places = [place for place in axis.get_majorticklocs() if low <= place <= high]
        ticks = {_number(_scaled(place, axis)): f"{place:.3g}" for place in places}
        low, high, scale = _scaled(low, axis), _scaled(high, axis), "linear"
    return Axis(plain(axis.get_label_text()), scale, (_number(low), _number(high)), ticks)  # type: ignore[arg-type]


def series_of(line: Line2D, axes: Axes, bar: ErrorbarContainer | None) -> Series:
    """A line or points, with the ends of its error bars in the texts."""
    x, y = _data(line, axes)
    dashed, marker = str(line.get_linestyle()), str(line.get_marker())
    is_points = dashed in ("None", "none", "")
    is_hollow = str(line.get_markerfacecolor()) in ("white", "none")
    symbol = SYMBOLS.get(marker, "" if marker in ("None", "none", "") else "circle")
    colour = to_hex(line.get_markeredgecolor() if is_points else line.get_color())  # type: ignore[arg-type]
    told = _EXPLAINED.get(line, Explanation([], []))
    texts = told.texts or (_bar_texts(bar, y) if bar else [])
    return Series(
        kind="points" if is_points else "line",
        name=name_of(bar.get_label() if bar else line.get_label()),
        x=x, y=y, colour=colour, dash=DASHES.get(dashed, "solid"),
        marker=f"{symbol}-open" if symbol and is_hollow and not symbol.endswith("open") else symbol,
        width=float(line.get_linewidth()),
        size=float(line.get_markersize()) * (0.6 if marker == "." else 1.0),
        opacity=float(line.get_alpha() or 1.0), muted=colour == MUTED.lower(), texts=texts, runs=told.runs,
    )  # fmt: skip


def bands(axes: Axes) -> Iterable[Series]:
    for collection in axes.collections:
        if not isinstance(collection, PolyCollection):
            continue
        for path in collection.get_paths():
            x, y = (np.asarray(path.vertices, dtype=float)[:, column] for column in (0, 1))
            yield Series(
                "band", name_of(collection.get_label()), _scaled_list(x, axes.xaxis),
                _scaled_list(y, axes.yaxis), to_hex(np.asarray(collection.get_facecolor())[0]),
                opacity=float(collection.get_alpha() or 1.0), width=0,
            )  # fmt: skip


def cloud_of(cloud: PathCollection, axes: Axes) -> Series:
    """A scatter's dots, of one size that is the mean of theirs."""
    points = np.asarray(cloud.get_offsets(), dtype=float)
    told = _EXPLAINED.get(cloud, Explanation([], []))
    return Series(
        "points", name_of(cloud.get_label()), _scaled_list(points[:, 0], axes.xaxis),
        _scaled_list(points[:, 1], axes.yaxis), to_hex(np.asarray(cloud.get_facecolor())[0]), marker="circle",
        size=float(np.sqrt(np.mean(cloud.get_sizes()))), texts=told.texts, runs=told.runs,
    )  # fmt: skip


def name_by_colour(found: Sequence[Panel]) -> None:
    """Gives series without a name the name that their colour has elsewhere in the figure, if it has one."""
    every = [series for panel in found for series in panel.series]
    names: dict[str, set[str]] = {}
    for series in every:
        if series.name:
            names.setdefault(series.colour, set()).add(series.name)
    for series in every:
        if not series.name and len(names.get(series.colour, ())) == 1:
            series.name = next(iter(names[series.colour]))


def name_of(label: object) -> str:
    """The name that an artist's label says; empty for those that matplotlib makes up."""
    text = str(label)
    return "" if re.fullmatch(r"_child\d+|_nolegend_|_container\d+|", text) else plain(text.removeprefix("_"))


def plain(text: str) -> str:
    """Text without the marks of formulas."""
    text = text.replace(r"\$", "\0").replace(r"\|", "‖").replace("$", "").replace("\0", "$")
    return re.sub(r"\\[a-zA-Z]+|_F\b", "", text).strip()


def _data(line: Line2D, axes: Axes) -> tuple[list[float | None], list[float | None]]:
    """Where the points of a line are, also of one across the panel, whose x or y is a share of it."""
    points = np.column_stack([np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)])
    in_data = line.get_transform().contains_branch_seperately(axes.transData)
    if not all(in_data):
        points = axes.transData.inverted().transform(line.get_transform().transform(points))
    return _scaled_list(points[:, 0], axes.xaxis), _scaled_list(points[:, 1], axes.yaxis)


def _scaled_list(values: np.ndarray, axis: Any) -> list[float | None]:
    known = axis.get_scale() in ("linear", "log")
    return [_number(value if known else _scaled(value, axis)) for value in values]


def _scaled(value: float, axis: Any) -> float:
    """The value in the unit of a linear axis that looks like this one."""
    return float(np.asarray(axis.get_transform().transform(np.asarray([value], float)))[0])


def _number(value: float) -> float | None:
    """Five digits are more than a screen can show; JSON has no nan."""
    if not math.isfinite(value):
        return None
    short = float(f"{value:.5g}")
    return int(short) if short.is_integer() else short  # 4, not 4.0, in every point of a page


def _bar_texts(bar: ErrorbarContainer, y: Sequence[float | None]) -> list[str]:
    """`0.9 [0.8, 0.95]` of every point, read off the upright error bars; `0.9` where there is no interval."""
    uprights = [c for c in bar.lines[2] if isinstance(c, LineCollection)]
    if not uprights:
        return []
    ends: list[list[float]] = [np.asarray(path.vertices)[:, 1].tolist() for path in uprights[-1].get_paths()]
    return [
        f"{_short(value)} [{_short(low)}, {_short(high)}]" if math.isfinite(low + high) else _short(value)
        for value, (low, high) in zip(y, ends, strict=False)
    ]


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3g}"


def _caps(bars: Iterable[ErrorbarContainer]) -> set[Artist]:
    return {cap for bar in bars for cap in bar.lines[1]}
