"""Performance profiles over the tasks of an atlas: how often a method is near the best.

As AlgoPerf scores its submissions (Dahl et al. 2023, arXiv 2306.07179; Dolan and Moré 2002): of each method,
the share of tasks on which it is at most so far below the best. A task on which it does not learn counts as
one where it never is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.atlas.collected import Task
from analysis.atlas.numbers import share
from analysis.figures.explorable import explain
from analysis.figures.style import figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.transfer import FEWEST, profile

CAPTION = (
    "Performance profiles: the share of tasks on which a method's tuned test score is at most so far below "
    "the best method's, in percent of the way from the untouched base model to the best. Higher is better; a "
    "task on which a method does not learn never counts. Methods with runs on every task."
)
TAUS = np.linspace(0, 1, 101)


def gaps(tasks: Mapping[str, Task]) -> pd.DataFrame:
    """How far below the best each label is, as a share of what the best gains: labels by tasks.

    inf where it does not learn. Without labels that lack a task, and without tasks on which nobody beats the
    untouched model.
    """
    columns = {}
    for name, task in tasks.items():
        table = task.table
        gap = (task.best - table["tuned_test"].astype(float)).map(lambda behind, of=task: share(of, behind))
        if gap.notna().any():
            columns[name] = gap.mask(table["not_learning"] != "", np.inf)
    return pd.DataFrame(columns).dropna()


@figure_style()
def draw_profiles(found: pd.DataFrame, method_of: dict[str, str], folder: Path) -> Path:
    """A line per label, the one with the largest area first; see CAPTION.

    Args:
        found: of `gaps`.
        method_of: label -> its method, of all labels.
    """
    shares = pd.DataFrame(profile(found.to_numpy(dtype=float), TAUS), index=found.index, columns=TAUS)
    shares = shares.loc[shares.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    styles = method_styles(list(method_of), method_of)
    figure, axes = subplots(size=(6.5, 4))
    for label, row in shares.iterrows():
        style = styles[str(label)]
        (line,) = axes.plot(100 * TAUS, 100 * row, style.line, color=style.colour, label=style.title)
        texts = [f"at most {100 * tau:.3g} % below the best" for tau in TAUS]
        texts = [f"{text}\n{100 * part:.0f} % of tasks" for text, part in zip(texts, row, strict=True)]
        explain(line, texts)
    axes.set(xlabel="below the best, percent of what it gains", ylabel="percent of tasks", ylim=(-3, 103))
    axes.set_title(f"Performance profiles over {found.shape[1]} tasks")
    legend_beside(axes)
    data = shares.rename_axis("label").rename_axis("gap", axis=1).stack().rename("share").reset_index()
    return save(figure, data, folder, "profiles")


def can_be_drawn(found: pd.DataFrame) -> bool:
    """Whether there are two tasks, and two methods that have runs on all of them."""
    return found.shape[1] >= FEWEST and len(found) > 1
