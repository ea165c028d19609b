"""The tasks that generate pictures: the paper's Figures 3 to 8, and samples by learning rate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.data.metrics import further_metrics, metric_title
from analysis.data.pictures import content_of
from analysis.data.studies import GRID, PERTURBATION, S2I, SUBJECT, key_of
from analysis.data.table import Study
from analysis.figures.convergence import draw_convergence
from analysis.figures.distances import draw_distances
from analysis.figures.elements import draw_against_lr, draw_references, references
from analysis.figures.further_metrics import draw_metric
from analysis.figures.he_training import draw_he_training
from analysis.figures.multiples import draw_multiples
from analysis.figures.plane import draw_plane
from analysis.figures.robustness import draw_robustness
from analysis.figures.samples import draw_samples
from analysis.figures.style import COLOURS, MARKERS, NAMES, figure_style, method_styles, save, subplots
from analysis.paper.figures.hyperspherical import draw_hyperspherical
from analysis.paper.figures.perturbation import draw_perturbation
from analysis.paper.published import read_off
from analysis.paper.records import ENERGY
from analysis.statistics.intervals import mean_title

QUALITY = "frechet_distance"
"""The FID's place: the FID itself where the features are Inception's."""


@figure_style()
def draw_generation(study: Study, folder: Path) -> Path:
    """Sweep `lr_grid` of s2i: mIoU and Frechet distance, and beside them the mIoU that the paper shows."""
    styles = method_styles(study.labels, study.method_of)
    runs = study.runs[study.runs["counted"]]
    quality = [metric for metric in further_metrics(runs) if metric.name == QUALITY]
    columns = 2 + len(quality)
    figure, axes = subplots(1, columns, size=(4.1 * columns, 4.4))
    data = [draw_against_lr(axes[0], study, "test", styles)]
    draw_references(axes[0], references(study, "test"), in_legend=True)
    axes[0].set_ylabel(f"test {metric_title(runs)}")
    axes[0].set_title("here")
    for panel, metric in zip(axes[1:], quality, strict=False):
        data.append(draw_metric(panel, study, metric, styles))
        panel.set_title("here")
    data.append(_draw_papers(axes[-1]))
    handles, names = axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=5)
    plotted = pd.concat(data)
    seeds = plotted.loc[plotted["seeds"] > 0, "seeds"].astype(int)
    title = f"Controllable generation, {mean_title(seeds)}"
    figure.suptitle("\n".join(filter(None, (title, content_of(runs)))))
    return save(figure, plotted, folder, "generation")


def _draw_papers(axes: Axes) -> pd.DataFrame:
    """The curves of the paper's figure, in percent; returns what is plotted."""
    curves = read_off(5)
    for method, points in curves.groupby("method", sort=False):
        name = str(method)
        axes.plot(
            points["lr"], points["miou"], color=COLOURS[name], marker=MARKERS[name], ms=4.5, lw=1.8,
            label=NAMES[name],
        )  # fmt: skip
    axes.set(xscale="log", xlabel="learning rate", ylabel="mIoU [%]", ylim=(0, None))
    axes.set_title("the paper: ADE20K, Stable Diffusion 1.5\n(read off its Figure 5, no error bars)")
    return curves.rename(columns={"method": "label", "miou": "mean"}).assign(figure="paper")


Drawer = tuple[Callable[[Study, Path], Path | None], str]
"""What draws a figure, and its caption."""

OF_S2I: dict[str, list[Drawer]] = {
    GRID: [
        (
            draw_generation,
            "Figure 5: mIoU of the generated picture's map and the one that was asked for, and the Frechet "
            "distance to real pictures, against learning rate; right, the paper's curves.",
        ),
        (draw_convergence, "Figure 6: mIoU at every evaluation, a line per learning rate."),
        (draw_distances, "Figure 4's question on controllable generation: distances at convergence."),
        (draw_samples, "One map as every method draws it, by learning rate (compare Figure 8)."),
    ],
    PERTURBATION: [
        (draw_samples, "Figure 3: one map after random, untrained transformations of growing distance."),
        (draw_perturbation, "Figure 3 in numbers: score and loss against distance."),
    ],
    ENERGY: [
        (draw_hyperspherical, "Figure 7, right: hyperspherical energy during training, and the paper's ends.")
    ],
}
OF_SUBJECT: dict[str, list[Drawer]] = {
    GRID: [
        (
            draw_multiples,
            "Figure 8: one prompt at .1, 1, 10 and 100 times each method's tuned learning rate.",
        ),
        (draw_robustness, "Figure 5's question on subject-driven generation."),
        (
            draw_plane,
            "Is it the subject, and is it what the prompt says? A path over learning rates per method; the "
            "untouched model and the training pictures are best in one and useless.",
        ),
        (
            draw_distances,
            "Figure 4: distances at convergence against learning rate, with the methods' bounds (dotted).",
        ),
        (draw_convergence, "Figure 6's question: the score at every evaluation, a line per learning rate."),
        (draw_he_training, "Figure 7, left, in our measure: hyperspherical energy at the tuned rates."),
        (draw_samples, "One prompt as every method draws it, by learning rate."),
    ],
    PERTURBATION: OF_S2I[PERTURBATION],
    ENERGY: [
        (draw_hyperspherical, "Figure 7, left: hyperspherical energy during training, and the paper's ends.")
    ],
}
FIGURES = {S2I[0]: OF_S2I, SUBJECT[0]: OF_SUBJECT}
"""By task and sweep, what is drawn."""


def draw_for(sweep: str, study: Study, folder: Path) -> list[tuple[Path | None, str]]:
    """Every figure of one sweep's study, with its caption, which says what its pictures are."""
    content = content_of(study.runs)
    ending = f" The miniature: {content}." if content else ""
    return [(draw(study, folder), caption + ending) for draw, caption in FIGURES[key_of(study)[0]][sweep]]
