"""The figures of every report, in their order. A new one is a file beside this one, and a line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from analysis.data.table import Study
from analysis.figures import (
    convergence,
    distances,
    further_metrics,
    he_training,
    multiples,
    plane,
    robustness,
    samples,
    sharpness,
    tuning_cost,
    two_axes,
)


@dataclass(frozen=True)
class StudyFigure:
    """A figure of any study.

    draw: saves PNG, PDF and CSV in a folder and returns the PNG's path; None where the study's records have
        nothing for it to show.
    caption: what it shows; paper_caption: the same in the report of `analysis.paper`, in fewer words, or None
        where the paper has no such figure of the digits.
    """

    draw: Callable[[Study, Path], Path | None]
    caption: str
    paper_caption: str | None


STUDY_FIGURES = (
    StudyFigure(robustness.draw_robustness, robustness.CAPTION, robustness.PAPER_CAPTION),
    StudyFigure(two_axes.draw_two_axes, two_axes.CAPTION, None),
    StudyFigure(tuning_cost.draw_tuning_cost, tuning_cost.CAPTION, None),
    StudyFigure(further_metrics.draw_further_metrics, further_metrics.CAPTION, None),
    StudyFigure(plane.draw_plane, plane.CAPTION, None),
    StudyFigure(multiples.draw_multiples, multiples.CAPTION, None),
    StudyFigure(samples.draw_samples, samples.CAPTION, None),
    StudyFigure(convergence.draw_convergence, convergence.CAPTION, convergence.PAPER_CAPTION),
    StudyFigure(distances.draw_distances, distances.CAPTION, distances.PAPER_CAPTION),
    StudyFigure(sharpness.draw_sharpness, sharpness.CAPTION, None),
    StudyFigure(he_training.draw_he_training, he_training.CAPTION, he_training.PAPER_CAPTION),
)

SPACE_FIGURES = (StudyFigure(tuning_cost.draw_tuning_cost, tuning_cost.CAPTION, None),)
"""Those of a study that draws its runs from a space, where no two runs share a learning rate."""


def figures_of(study: Study) -> tuple[StudyFigure, ...]:
    """The figures that are of a study's kind."""
    return STUDY_FIGURES if study.trials is None else SPACE_FIGURES
