"""Whether the best learning rate moves with another setting, in a sentence per method."""

from __future__ import annotations

from analysis.data.names import label_name
from analysis.data.second_axis import SecondAxis, second_axes
from analysis.data.table import Study
from analysis.figures.two_axes import path_of
from analysis.statistics.learning import MIN_SEEDS
from analysis.statistics.optimum_path import MOVES_DOWN, MOVES_UP, SAME_RATE, STAYS, OptimumPath

WORDS = {
    MOVES_UP: "moves up",
    MOVES_DOWN: "moves down",
    STAYS: f"hardly moves (by less than {SAME_RATE:g})",
}


def moves(study: Study) -> list[str]:
    """A sentence for each heatmap of `analysis.figures.two_axes`."""
    return [_sentence(axis, path_of(axis)) for axis in second_axes(study.runs)]


def _sentence(axis: SecondAxis, path: OptimumPath) -> str:
    name = " ".join(filter(None, [label_name(axis.method, axis.method), axis.others]))
    ends = ", ".join(f"{value:g}" for value in path.left_out)
    beyond = f" Left out, for it is at an end of the grid: {axis.name} {ends}." if ends else ""
    if path.why_not:
        why = f"{path.why_not}, and a slope needs two"
        return f"{name}: whether the best rate moves with {axis.name} cannot be said: {why}.{beyond}"
    does = WORDS.get(path.verdict, "is not shown to move or to stay")
    if path.seeds < MIN_SEEDS:
        does = f"has no verdict, which takes {MIN_SEEDS} seeds"
    return f"{name}: the best rate {does} with {axis.name}, {path.text} decades per doubling.{beyond}"
