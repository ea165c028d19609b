"""Hyperspherical energy over longer training, a panel per learning rate: the paper's Figure 7."""

from __future__ import annotations

from pathlib import Path

from analysis.data.table import Study
from analysis.figures.elements import draw_band
from analysis.figures.style import figure_style, legend_beside, method_styles, save, subplots
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
    axes.flat[0].set_ylabel("HE(W') - HE(W), mean over layers")
    legend_beside(axes.flat[-1])
    # The CSV's columns are an interface: there the rank is called place.
    return save(figure, data.rename(columns={"rank": "place"}), folder, "hyperspherical")
