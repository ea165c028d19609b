"""Expected test score against the number of trials that were spent on tuning."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from analysis.data.metrics import metric_title, range_of
from analysis.data.table import Study
from analysis.figures.elements import draw_references, metric_of, references
from analysis.figures.explorable import explain
from analysis.figures.look import current
from analysis.figures.palette import MUTED
from analysis.figures.style import figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.tuning import TuningCurve, tuning_curves

CAPTION = (
    "What tuning costs: the test score to be expected of the best of so many trials, best by validation. Of "
    "a grid a trial is a learning rate, drawn without replacement, with its seed; of a space it is a point. "
    "Bands are 95 % intervals: over seeds (Student's), or over trials (bootstrap). Samplers that learn (tpe, "
    "gp) have the one search that took place, and no band. A diverged trial counts, and is never the best "
    "beside others."
)


@figure_style()
def draw_tuning_cost(study: Study, folder: Path) -> Path | None:
    """A line per method; None where no method has two trials."""
    curves = tuning_curves(study)
    if not curves:
        return None
    runs = study.runs[study.runs["counted"]]
    styles, limits = method_styles(study.labels, study.method_of), range_of(metric_of(runs))
    figure, axes = subplots(size=(7.0, 4.0))
    draw_references(axes, references(study, "test"), in_legend=True)
    small = 0.7 if current().width else 1.0
    for label, curve in curves.items():
        style = styles[label]
        colour = MUTED if style.muted else style.colour
        name = f"_{style.title}" if style.muted else style.title
        (line,) = axes.plot(
            curve.trials, curve.expected, style.line, color=colour, lw=1.8 * small, label=name
        )
        explain(line, _texts(curve))
        if not style.muted and np.isfinite(curve.low).any():
            low, high = np.clip(curve.low, *limits), np.clip(curve.high, *limits)
            band: dict[str, Any] = {"color": colour, "alpha": 0.18, "lw": 0, "label": f"_{style.title}"}
            axes.fill_between(curve.trials, low, high, **band)
    trial = "trials" if study.trials is not None else "learning rates tried"
    if max(int(curve.trials[-1]) for curve in curves.values()) > 15:
        axes.set_xscale("log")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=trial, ylabel=f"expected test {metric_title(runs)}")
    figure.suptitle("What tuning costs")
    legend_beside(axes)
    return save(figure, _data(curves), folder, "tuning_cost")


def _texts(curve: TuningCurve) -> list[str]:
    """What each point tells on a page."""
    texts = []
    for count, value, low, high in zip(curve.trials, curve.expected, curve.low, curve.high, strict=True):
        interval = f" [{low:.3g}, {high:.3g}]" if np.isfinite(low) else ""
        texts.append(f"{count} trial{'s' if count > 1 else ''}\n{value:.3g}{interval}")
    return texts


def _data(curves: dict[str, TuningCurve]) -> pd.DataFrame:
    tables = [
        pd.DataFrame(
            {"label": label, "trials": c.trials, "expected": c.expected, "low": c.low, "high": c.high}
        )
        for label, c in curves.items()
    ]
    return pd.concat(tables)
