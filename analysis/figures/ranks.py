"""Average ranks over several tasks, and which of them differ: a critical-difference plot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.data.scores import direction
from analysis.data.table import Study
from analysis.figures.explorable import explain
from analysis.figures.style import REFERENCE, MethodStyle, figure_style, method_styles, save, subplots
from analysis.statistics.ranks import LEVEL, Ranking, rank
from analysis.statistics.robustness import robustness_table

CAPTION = (
    "Average ranks over the tasks, 1 the best; left by the tuned test score, right by the sensitivity. "
    "Methods that a grey bar joins are closer than the critical difference (Nemenyi's test at 5 %, Demšar "
    "2006): over so many tasks no difference between them is shown."
)
QUANTITIES = {"tuned_test": "tuned test score", "regret_window": "sensitivity"}


def rankings(studies: Mapping[str, Study]) -> dict[str, Ranking]:
    """quantity -> the ranking of labels over the studies, by title; without those that cannot be ranked."""
    tables = {title: robustness_table(study.runs).set_index("label") for title, study in studies.items()}
    found = {}
    for quantity in QUANTITIES:
        rows = {}
        for title, table in tables.items():
            sign = direction(studies[title].runs) if quantity == "tuned_test" else -1.0
            rows[title] = sign * table[quantity].astype(float)
        if (ranking := rank(pd.DataFrame(rows).T)) is not None:
            found[quantity] = ranking
    return found


@figure_style()
def draw_ranks(found: Mapping[str, Ranking], method_of: dict[str, str], folder: Path) -> Path:
    """A panel per quantity; see CAPTION.

    Args:
        found: of `rankings`, at least one.
        method_of: label -> its method, of all labels.
    """
    most = max(len(ranking.average) for ranking in found.values())
    figure, axes = subplots(1, len(found), size=(4.6 * len(found), 0.34 * most + 1.3), squeeze=False)
    styles = method_styles(list(method_of), method_of)
    data = []
    for panel, (quantity, ranking) in zip(axes.flat, found.items(), strict=True):
        _draw_ranking(panel, ranking, styles)
        panel.set_title(f"{QUANTITIES[quantity]}: critical difference {ranking.critical_difference:.2f}")
        average = ranking.average.rename_axis("label").rename("average_rank").reset_index()
        data.append(average.assign(quantity=quantity, critical_difference=ranking.critical_difference))
    tasks = len(next(iter(found.values())).ranks)
    figure.suptitle(f"Average ranks over {tasks} tasks")
    return save(figure, pd.concat(data), folder, "ranks")


def _draw_ranking(axes: Axes, ranking: Ranking, styles: dict[str, MethodStyle]) -> None:
    """A row per method, the best above, and left of them a bar for each group without a difference."""
    for row, (label, mean) in enumerate(ranking.average.items()):
        style = styles[str(label)]
        (mark,) = axes.plot(
            mean, row, style.marker, color=style.colour, ms=8, label=f"_{style.title}", zorder=3
        )
        explain(mark, [f"average rank {mean:.2f}\n{_places(ranking.ranks[label])}"])
    for start, end in ranking.groups():
        middle = [ranking.average.iloc[start], ranking.average.iloc[end]]
        axes.plot(middle, [end + 0.32] * 2, "-", color=REFERENCE, lw=3, label="_no difference shown")
    names = [styles[str(label)].title for label in ranking.average.index]
    axes.set_yticks(range(len(names)), labels=names)
    axes.set(xlim=(0.7, len(names) + 0.3), ylim=(len(names) - 0.3, -0.6), xlabel="average rank")


def _places(ranks: pd.Series) -> str:
    return "\n".join(f"{task}: {place:g}" for task, place in ranks.items())


def ranks_note(found: Mapping[str, Ranking]) -> str:
    """What the ranks show, in sentences."""
    sentences = []
    for quantity, ranking in found.items():
        test = ""
        if not math.isnan(ranking.p):
            shown = "differences are" if ranking.p <= LEVEL else "no difference is"
            test = f"Friedman's test gives p = {ranking.p:.2g}, so {shown} shown; "
        sentences.append(
            f"By {QUANTITIES[quantity]}, over {len(ranking.ranks)} tasks: {test}the critical difference is "
            f"{ranking.critical_difference:.2f} ranks."
        )
    return " ".join(sentences)
