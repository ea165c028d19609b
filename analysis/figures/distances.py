"""Distance from the identity and from the pretrained weight, against learning rate: the paper's Figure 4."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.axes import Axes

from analysis.data.labels import is_missing
from analysis.data.table import Study
from analysis.figures.elements import draw_against_lr
from analysis.figures.style import MethodStyle, figure_style, legend_beside, method_styles, save, subplots
from analysis.statistics.intervals import mean_title

CAPTION = (
    "How far training moved the transformation from the identity and the weight from where it "
    "was (compare the paper's Figure 4), in Frobenius norms, means over layers. "
    "A cross at the upper edge: a run there is not finite, so there is no mean. Bounded methods flatten; the "
    "others grow with the learning rate. Dotted lines: the most that a method's transformation can be off "
    "the identity, 2 sqrt(n) for ETHER's n blocks, which is what it always is, sqrt(2 n) for ETHER+, and "
    "2 sqrt(d) for OFT on a layer of width d."
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
    styles, most = method_styles(study.labels, study.method_of), bounds(study)
    figure, axes = subplots(1, 2, size=(9.2, 3.6))
    data = []
    for panel, (value, title) in zip(axes, DISTANCES.items(), strict=True):
        data.append(draw_against_lr(panel, study, value, styles))
        panel.set_yscale("log")
        if value == "transform_distance":
            data.append(_draw_bounds(panel, most, styles))
        means = pd.concat(data).query("figure == @value")["mean"]
        lowest, highest = means.min(), means.max()
        if highest < 1.05 * lowest:  # a constant, such as ETHER's distance: no range to scale to
            panel.set_ylim(lowest / 2, highest * 2)
        panel.set_ylabel(title)
    if most:
        axes[1].plot([], [], ":", color="black", label="most that is possible")
    legend_beside(axes[1])
    plotted = pd.concat(data)
    seeds = plotted.loc[plotted["seeds"] > 0, "seeds"].astype(int)
    figure.suptitle(f"Distance at the end of training, {mean_title(seeds)}")
    return save(figure, plotted, folder, "distances")


def bounds(study: Study) -> dict[str, float]:
    """The most that |T - I|_F can be, as a mean over layers and sides, of each label that has such a bound.

    ETHER: 2 per block, so 2 sqrt(n) for n blocks. ETHER+: sqrt(2) per block and side, so sqrt(2 n). OFT: 2
    sqrt(d) for a layer of d inputs. Records have no widths, but OFT's parameters are the sum over layers of
    d^2 / (2 n), so that the mean of 2 sqrt(d) is at most 2 (2 n parameters / layers)^(1/4), and is just that
    where all layers are as wide. It is left out where other parameters are among those.
    """
    found = {}
    for label in study.labels:
        first = study.of(label).iloc[0]
        method = str(first["method"])
        blocks = first.get(f"method.{method}.blocks")
        if is_missing(blocks):
            continue
        if method == "ether":
            found[label] = 2 * float(blocks) ** 0.5
        elif method == "ether_plus":
            found[label] = (2 * float(blocks)) ** 0.5
        elif method == "oft" and not _has_others(first):
            layers = study.layers.loc[study.layers["run_id"] == first["run_id"], "layer"].nunique()
            if layers:
                found[label] = 2 * (2 * float(blocks) * float(first["parameters"]) / layers) ** 0.25
    return found


def _has_others(run: pd.Series) -> bool:
    """Whether a run of OFT trains something beside its rotations: a head, or magnitudes."""
    others = (run.get("task.head_lr"), run.get("method.oft.magnitudes"))
    return any(not is_missing(value) and bool(value) for value in others)


def _draw_bounds(axes: Axes, most: dict[str, float], styles: dict[str, MethodStyle]) -> pd.DataFrame:
    """A dotted line across for each bound; returns what is plotted."""
    for label, bound in most.items():
        style = styles[label]
        if not style.muted:
            axes.axhline(bound, color=style.colour, ls=":", lw=1.3, label=f"_{style.title}", zorder=1)
    return pd.DataFrame({"label": list(most), "mean": list(most.values()), "figure": "bound"})
