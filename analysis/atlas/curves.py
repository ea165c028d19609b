"""A method's score against learning rate on every task, among all others in grey."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from analysis.atlas.collected import Task
from analysis.data.metrics import metric_title, range_of
from analysis.figures.elements import (
    draw_band,
    draw_references,
    mark_tuned,
    metric_of,
    named,
    tuned_rates,
)
from analysis.figures.look import Look, looking
from analysis.figures.style import figure_style, method_styles, save_still, subplots
from analysis.statistics.intervals import seed_means

CAPTION = (
    "Test score against learning rate on every task: means over seeds with 95 % Student intervals; the large "
    "hollow marker is the tuned rate. Grey curves: every other method; grey lines: the untouched base model "
    "(dashed), chance (dotted) and what else is known."
)
COLUMNS = 4


@figure_style()
def draw_curves(label: str, tasks: Mapping[str, Task], folder: Path, name: str) -> Path:
    """A panel for each task on which the label has runs that ended; see CAPTION.

    Args:
        name: of the files.
    """
    having = [task for task in tasks.values() if label in task.table.index]
    columns = min(COLUMNS, len(having))
    rows = math.ceil(len(having) / columns)
    figure, axes = subplots(rows, columns, size=(3.3 * columns + 0.3, 2.7 * rows + 0.3), squeeze=False)
    data = []
    for panel in axes.flat[len(having) :]:
        panel.set_visible(False)
    for panel, task in zip(axes.flat, having, strict=False):
        study = task.study
        runs = study.runs[study.runs["counted"]].sort_values(["rank", "lr"])
        means = seed_means(runs, ["label", "lr"], "test")
        with looking(Look(highlight=(label,))):
            styles = method_styles(study.labels, study.method_of)
            limits, tuned = range_of(metric_of(runs)), tuned_rates(study)
            draw_references(panel, task.references)
            for each in sorted(task.table.index, key=lambda other: other == label):  # itself on top
                points = means[means["label"] == each]
                draw_band(panel, named(points["lr"]), points, styles[each], limits=limits)
                mark_tuned(panel, points, tuned[each], styles[each])
        panel.set_xscale("log")
        panel.set(title=task.title, xlabel="learning rate", ylabel=f"test {metric_title(runs)}")
        data.append(means[means["label"] == label].assign(task=task.name))
    return save_still(figure, pd.concat(data), folder, name)
