"""The figures of the catalogue, drawn for a page."""

from __future__ import annotations

from pathlib import Path

from analysis.data.table import Study
from analysis.figures.catalogue import figures_of
from analysis.figures.look import Look
from analysis.reporting.page import Picture


def draw_every(study: Study, folder: Path) -> list[Picture]:
    """Every figure of every report that the study's records allow, with its caption."""
    drawn = [(figure.draw(study, folder), figure.caption) for figure in figures_of(study)]
    return [Picture(path, caption) for path, caption in drawn if path is not None]


def folder_of(figures: Path, look: Look) -> Path:
    """Where the figures of a look go: those for print into a folder of their own."""
    return figures / look.width if look.width else figures
