"""Hyperspherical energy over longer training, a panel per learning rate: the paper's Figure 7."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.data.table import Study
from analysis.figures.elements import draw_band, energy_title
from analysis.figures.style import (
    NAMES,
    MethodStyle,
    figure_style,
    legend_beside,
    method_styles,
    save,
    subplots,
)
from analysis.paper.published import read_off
from analysis.statistics.intervals import seed_means


@figure_style()
def draw_hyperspherical(study: Study, folder: Path) -> Path:
    """Sweep `hyperspherical`: change of energy during training, a panel per learning rate (Fig. 7)."""
    runs = study.runs[study.runs["counted"]]
    styles = method_styles(study.labels, study.method_of)
    history = study.history.merge(runs[["run_id", "label", "rank", "lr"]], on="run_id")
    data = seed_means(history.sort_values(["rank", "step"]), ["label", "rank", "lr", "step"], "he_change")
    rates = sorted(runs["lr"].unique())
    figure, axes = subplots(1, len(rates), size=(3.4 * len(rates) + 1.6, 3.4), squeeze=False)
    for panel, lr in zip(axes.flat, rates, strict=True):
        for label in study.labels:
            points = data[(data["label"] == label) & (data["lr"] == lr)]
            draw_band(panel, points["step"], points, styles[label])
        panel.set_title(f"learning rate {lr:g}")
        panel.set_xlabel("training step")
    papers = [draw_papers(panel, runs, styles) for panel in axes.flat][-1]
    axes.flat[0].set_ylabel(energy_title(runs))
    legend_beside(axes.flat[-1])
    data = pd.concat([data, papers])
    # The CSV's columns are an interface: there the rank is called place.
    return save(figure, data.rename(columns={"rank": "place"}), folder, "hyperspherical")


def draw_papers(axes: Axes, runs: pd.DataFrame, styles: dict[str, MethodStyle]) -> pd.DataFrame:
    """Where the paper's curves end, as dotted lines, if the runs are of its task and in its measure."""
    ends = read_off(7)
    ends = ends[(ends["task"] == runs["task"].iloc[0]) & (ends["he_change"] != 0)]
    in_its_measure = "task.energy" in runs and (runs["task.energy"] == "oft").all()
    if not in_its_measure:
        ends = ends.iloc[:0]
    for end in ends.itertuples():
        style = next(style for label, style in styles.items() if label.split()[0] == end.method)
        name = f"{NAMES[end.method]} in the paper, at the end"
        axes.axhline(end.he_change, color=style.colour, ls=":", lw=1.4, label=name)
    return ends.assign(label=ends["method"] + " (paper)", mean=ends["he_change"])[["label", "mean"]]
