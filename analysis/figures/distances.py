"""Distance from the identity and from the pretrained weight, against learning rate: the paper's Figure 4."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.data.table import Study
from analysis.figures.elements import draw_against_lr
from analysis.figures.style import figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.intervals import mean_title

CAPTION = (
    "How far training moved the transformation from the identity and the weight from where it "
    "was (compare the paper's Figure 4), in Frobenius norms, means over layers. "
    "A cross at the upper edge: a run there is not finite, so there is no mean. Bounded methods flatten; the "
    "others grow with the learning rate."
)
PAPER_CAPTION = "Figure 4: distances at convergence against learning rate."

DISTANCES = {
    "transform_distance": "transformation's distance\nfrom the identity",
    "weight_distance": "weight's distance from\nthe pretrained one",
}


@figure_style()
def draw_distances(study: Study, folder: Path) -> Path:
    """Distance of the transformation from the identity, and of the weight, at the end; paper, Fig. 4.

    Methods without a transformation of the weight (LoRA) have the second alone.
    """
    styles = method_styles(study.labels, study.method_of)
    figure, axes = subplots(1, 2, size=(9.2, 3.6))
    data = []
    for panel, (value, title) in zip(axes, DISTANCES.items(), strict=True):
        data.append(draw_against_lr(panel, study, value, styles))
        panel.set_yscale("log")
        lowest, highest = data[-1]["mean"].min(), data[-1]["mean"].max()
        if highest < 1.05 * lowest:  # a constant, such as ETHER's distance: no range to scale to
            panel.set_ylim(lowest / 2, highest * 2)
        panel.set_ylabel(title)
    legend_beside(axes[1])
    plotted = pd.concat(data)
    seeds = plotted.loc[plotted["seeds"] > 0, "seeds"]
    figure.suptitle(f"Distance at the end of training, {mean_title(seeds)}")
    return save(figure, plotted, folder, "distances")
