"""Naive's score minus OFT's at each learning rate: the paper's Table 6."""

from __future__ import annotations

from pathlib import Path

from analysis.data.table import Study
from analysis.figures.elements import metric_words
from analysis.figures.style import COLOURS, REFERENCE, figure_style, save, subplots
from analysis.statistics.intervals import seed_means


@figure_style()
def draw_oft_against_naive(study: Study, folder: Path) -> Path:
    """Sweep `lr_grid`: test score of Naive minus OFT's at each rate, paired by seed (Table 6)."""
    runs = study.runs[study.runs["counted"]]
    naive, oft = (runs[runs["method"] == m].set_index(["lr", "seed"])["test"] for m in ("naive", "oft"))
    difference = (naive - oft).dropna().rename("difference").reset_index()
    data = seed_means(difference.sort_values("lr"), ["lr"], "difference")
    figure, axes = subplots(size=(6, 3))
    axes.axhline(0, color=REFERENCE, lw=1)
    error = [data["mean"] - data["low"], data["high"] - data["mean"]]
    axes.errorbar(data["lr"], data["mean"], error, fmt="o-", color=COLOURS["naive"], capsize=3)
    axes.plot(difference["lr"], difference["difference"], ".", color=COLOURS["naive"], alpha=0.4)
    axes.set_xscale("log")
    axes.set(xlabel="learning rate", ylabel=f"test {metric_words(runs)}", title="Naive minus OFT")
    return save(figure, data, folder, "oft_against_naive")
