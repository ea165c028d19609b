"""Score against learning rate: the study's headline and the paper's Figure 5."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from analysis.data.metrics import metric_title, range_of
from analysis.data.studies import key_of
from analysis.data.table import Study
from analysis.figures.elements import (
    draw_band,
    draw_references,
    explain_tuned,
    mark_tuned,
    mean_texts,
    metric_of,
    named,
    references,
    runs_behind,
    tuned_rates,
)
from analysis.figures.explorable import explain
from analysis.figures.look import current
from analysis.figures.style import (
    MethodStyle,
    columns_of,
    figure_style,
    legend_beside,
    method_styles,
    save,
)
from analysis.statistics.intervals import mean_title, seed_means

CAPTION = (
    "Test score against learning rate. Lines are means over seeds, bands their 95 % Student intervals as far "
    "as the metric can reach; a large hollow marker is the tuned rate. Below, every run is a dot and a "
    "diverged run a cross. Diverged runs count in every mean. Grey lines: "
    "the untouched base model (dashed), chance (dotted) and, where they are known, real data in the place of "
    "what is generated (solid), what was trained on, given out again (long dashes and dots), and the head or "
    "encoder trained alone (dash-dotted)."
)
PAPER_CAPTION = "Figure 5's question on the miniature, with error bars and LoRA."


@figure_style()
def draw_robustness(study: Study, folder: Path) -> Path:
    """Test score against learning rate: all methods in one panel, and each with every run below.

    Lines are means over seeds, bands their 95 % Student intervals; dots are runs, crosses diverged
    runs, which count in the means like any other.
    """
    runs = study.runs[study.runs["counted"]]
    styles = method_styles(study.labels, study.method_of)
    figure, top, small = _grid(len(study.labels))
    means = seed_means(runs.sort_values(["rank", "lr"]), ["label", "lr"], "test")
    lines, tuned = references(study, "test"), tuned_rates(study)
    draw_references(top, lines, in_legend=True)
    limits = range_of(metric_of(runs))
    for label, panel in zip(study.labels, small, strict=True):
        points, style = means[means["label"] == label], styles[label]
        behind = runs_behind(points, runs, ["label", "lr"])
        draw_band(top, named(points["lr"]), points, style, limits=limits, runs=behind)
        draw_references(panel, lines)
        _draw_runs(panel, runs[runs["label"] == label], points, style, behind)
        for axes in (top, panel) if label in tuned else ():
            mark_tuned(axes, points, tuned[label], replace(style, muted=style.muted and axes is top))
    explain_tuned(top)
    top.set_xscale("log")
    top.xaxis.set_major_locator(LogLocator(numticks=20))
    top.set(xlabel="learning rate", ylabel=f"test {metric_title(runs)}")
    figure.suptitle(_title(study, means))
    if (runs["status"] == "diverged").any():
        top.plot([], [], "x", color="black", ms=5, label="diverged run")
    legend_beside(top)
    valid = seed_means(runs.sort_values(["rank", "lr"]), ["label", "lr"], "valid")
    data = means.assign(split="test"), valid.assign(split="valid")
    return save(figure, pd.concat(data), folder, "robustness")


def _grid(count: int) -> tuple[Figure, Axes, list[Axes]]:
    """The figure, its large panel, and below it `count` small ones that share their axes."""
    columns = min(count, columns_of(5))
    rows = -(-count // columns)
    inches = current().inches
    size = (2.1 * max(columns, 4) + 0.5, 4.2 + 2.0 * rows)
    if inches is not None:
        size = (inches, min(2.6, 0.75 * inches) + 1.15 * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.add_gridspec(1 + rows, columns, height_ratios=[2.1, *[1] * rows])
    top = figure.add_subplot(grid[0, :])
    small: list[Axes] = []
    for index in range(count):
        shared = {"sharex": small[0], "sharey": small[0]} if small else {}
        panel = figure.add_subplot(grid[1 + index // columns, index % columns], **shared)  # type: ignore[arg-type]
        panel.tick_params(labelleft=index % columns == 0, labelbottom=index + columns >= count)
        if index + columns >= count:
            panel.set_xlabel("learning rate")
        small.append(panel)
    return figure, top, small


def _title(study: Study, means: pd.DataFrame) -> str:
    task, scale, subset = key_of(study)
    name = " ".join(filter(None, (task, subset)))
    return f"{name} ({scale}): robustness to the learning rate, {mean_title(means['seeds'])}"


def _draw_runs(
    axes: Axes, runs: pd.DataFrame, means: pd.DataFrame, style: MethodStyle, behind: list[list[str]]
) -> None:
    """One label's runs as dots, diverged ones as crosses, and the line through their means."""
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(numticks=3 if current().width else 5))
    small, name = (0.7 if current().width else 1.0), f"_{style.title}"
    (line,) = axes.plot(
        means["lr"], means["mean"], style.line, color=style.colour, lw=1.5 * small, label=name
    )
    explain(line, mean_texts(named(means["lr"]), means), behind)
    is_diverged = runs["status"] == "diverged"
    for rows, marker, size, colour in (
        (runs[~is_diverged], ".", 4 * small, style.colour),
        (runs[is_diverged], "x", 5 * small, "black"),
    ):
        alpha = 0.55 if marker == "." else 1.0
        (dots,) = axes.plot(
            rows["lr"], rows["test"], marker, color=colour, ms=size, mew=1.2 * small, alpha=alpha, label=name
        )
        explain(dots, [_run_text(run) for run in rows.itertuples()], [[run_id] for run_id in rows["run_id"]])
    axes.set_title(style.title)


def _run_text(run: Any) -> str:
    what = f"learning rate {run.lr:.3g}\nseed {run.seed}: {run.test:.3g}\nrun {run.run_id}"
    return f"{what}\ndiverged: {run.reason}" if run.status == "diverged" else what
