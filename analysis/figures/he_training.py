"""Hyperspherical energy during training and at its end: the paper's Figure 7."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from analysis.data.table import Study
from analysis.figures.elements import draw_against_lr, draw_band, energy_title, runs_behind, tuned_rates
from analysis.figures.style import figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.intervals import mean_title, seed_means

CAPTION = (
    "Change of hyperspherical energy from before training, a mean over the layers or, where the axis says "
    "OFT's measure, their sum (compare the paper's Figure 7). One-sided orthogonal "
    "maps, ETHER and OFT, cannot change it; the others can."
)
PAPER_CAPTION = "Figure 7: hyperspherical energy during training, and against the rate."


@figure_style()
def draw_he_training(study: Study, folder: Path) -> Path:
    """Change of hyperspherical energy during training at the tuned rate, and at the end."""
    runs = study.runs[study.runs["counted"]]
    best_lr = tuned_rates(study)
    styles = method_styles(study.labels, study.method_of)
    figure, (left, right) = subplots(1, 2, size=(9.2, 3.6))
    labels = runs[["run_id", "label", "rank", "lr"]]
    history = study.history.merge(labels, on="run_id").sort_values(["rank", "step"])
    tuned = history[history["lr"] == history["label"].map(best_lr)]
    during = seed_means(tuned, ["label", "lr", "step"], "he_change")
    for label in study.labels:
        points = during[during["label"] == label]
        if len(points):
            behind = runs_behind(points, runs, ["label", "lr"])
            draw_band(left, points["step"], points, styles[label], runs=behind)
    left.set_xlabel("training step")
    left.set_ylabel(energy_title(runs))
    left.set_title("during training at the tuned rate")
    at_end = draw_against_lr(right, study, "he_change", styles)
    right.set_yscale("symlog", linthresh=1e-4)
    if len(at_end):
        right.set_ylim(bottom=min(2 * at_end["mean"].min(), -1e-4))
    right.set_title("at the end of training")
    legend_beside(right)
    figure.suptitle(f"Change of hyperspherical energy, {mean_title(during['seeds'])}")
    return save(figure, pd.concat([during.assign(figure="during"), at_end]), folder, "he_training")
