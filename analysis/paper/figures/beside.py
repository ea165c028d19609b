"""The paper's printed scores and ours, side by side: a figure for each of its tables of scores."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from analysis.data.names import METHODS, metric_name
from analysis.figures.explorable import explain
from analysis.figures.style import MethodStyle, figure_style, legend_beside, method_styles, save, subplots
from analysis.reporting.number_text import number_text

CAPTION = (
    "Table {number}: left as the paper prints it, which states neither seeds nor intervals, right "
    "ours with 95 % "
    "Student intervals over seeds, {scale}. Other data and another model: what compares is the order "
    "of the methods."
)
SCALES = {"mini": "on the miniature", "paper": "at the paper's scale"}


@figure_style()
def draw_beside(table: pd.DataFrame, number: int, folder: Path) -> tuple[Path, str] | None:
    """Both as dots, methods beside each other for each score, and the caption; None where one side is empty.

    Args:
        table: of `analysis.paper.tables` or `image_tables`; its fourth column is what is scored.
    """
    across = str(table.columns[3])
    table = table[
        table["method"].isin(METHODS) & ~table[across].astype(str).str.contains("frechet|average|perplexity")
    ]
    printed = table[table["printed"].notna()].drop_duplicates(["method", "options", across])
    ours = table[table["ours"].notna()]
    if printed.empty or ours.empty:
        return None
    printed, ours = _labelled(printed, ours)
    scale = "paper" if (ours["scale"] == "paper").any() else "mini"
    ours = ours[ours["scale"] == scale]
    labels = sorted({*printed["label"], *ours["label"]}, key=_order)
    styles = method_styles(labels, {label: label.split(" ")[0] for label in labels})
    figure, axes = subplots(1, 2, size=(10.4, 3.4))
    sides = ((printed, "printed", "the paper"), (ours, "ours", f"here, {SCALES[scale]}"))
    for panel, (rows, value, title) in zip(axes, sides, strict=True):
        _draw_side(panel, rows, across, value, styles)
        panel.set(title=title, ylabel="score [%]")
    legend_beside(axes[1])
    figure.suptitle(f"Table {number}")
    data = pd.concat(
        [
            printed.assign(side="printed", value=printed["printed"]),
            ours.assign(side="ours", value=ours["ours"]),
        ]
    )
    kept = ["side", "label", across, "value", "low", "high", "seeds"]
    return save(figure, data[kept], folder, f"table{number}_beside"), CAPTION.format(
        number=number, scale=SCALES[scale]
    )


def _labelled(*sides: pd.DataFrame) -> list[pd.DataFrame]:
    """With a column `label`: the method and, where a side has it with several options, these."""
    counts = [side.fillna({"options": ""}).groupby("method")["options"].nunique() for side in sides]
    several = {method for count in counts for method in count[count > 1].index}
    labelled = []
    for side in sides:
        options = side["options"].fillna("").where(side["method"].isin(several), "")
        labelled.append(side.assign(label=(side["method"] + " " + options).str.strip()))
    return labelled


def _order(label: str) -> tuple[int, list[tuple[int, str]]]:
    """Methods in their order, then options, numbers in them by value."""
    parts = re.split(r"(\d+)", label)
    return list(METHODS).index(label.split(" ")[0]), [(int(p) if p.isdigit() else 0, p) for p in parts]


def _draw_side(
    axes: Axes, rows: pd.DataFrame, across: str, value: str, styles: dict[str, MethodStyle]
) -> None:
    """A group of dots for each score."""
    groups = list(dict.fromkeys(rows[across]))
    places = np.linspace(-0.3, 0.3, len(styles))
    for place, (label, style) in zip(places, styles.items(), strict=True):
        of_label = rows[rows["label"] == label]
        x = [groups.index(name) + place for name in of_label[across]]
        if value == "ours":
            ends = of_label[["low", "high"]].to_numpy(float)
            error = np.nan_to_num(np.abs(ends - of_label[["ours"]].to_numpy(float))).T
            axes.errorbar(
                x, of_label["ours"], error, fmt="none", ecolor=style.colour, lw=1.2, label=f"_{style.title}"
            )
        (dots,) = axes.plot(x, of_label[value], style.marker, color=style.colour, ms=6, label=style.title)
        explain(dots, [_text(row, across, value) for row in of_label.to_dict("records")])
    axes.set_xticks(range(len(groups)), labels=[metric_name(str(name)) for name in groups], rotation=20)


def _text(row: dict[str, object], across: str, value: str) -> str:
    interval = "" if value == "printed" or pd.isna(row["low"]) else f" [{row['low']:.3g}, {row['high']:.3g}]"
    return f"{metric_name(str(row[across]))}\n{number_text(float(str(row[value])))}{interval}"
