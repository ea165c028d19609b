"""Several studies, each of another task, in one report: ranks, rates that travel, performance profiles."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analysis.data.studies import key_of, split, title
from analysis.data.table import AnalysisError, Study
from analysis.figures.look import Look, looking
from analysis.reporting.many import over_all
from analysis.reporting.page import render_page
from analysis.reporting.pictures import folder_of
from analysis.reporting.travel import travel


def draw_across(folders: Sequence[Path], out: Path, look: Look) -> Path:
    """Writes out/report.html, transfer.csv and figures; returns the report's path, in print the figures'.

    Raises:
        AnalysisError: if tables cannot be used, two studies are of one task, or nothing can be compared.
    """
    studies = _by_title(folders)
    figures = folder_of(out / "figures", look)
    with looking(look):
        ranks, travels = over_all(studies, figures), travel(studies, figures)
    if ranks is None and travels is None:
        raise AnalysisError(
            f"{', '.join(study.name for study in studies.values())}: nothing to compare over several tasks; "
            "give studies of two tasks or more, of the same methods, which learn there"
        )
    if look.width:
        return figures
    if travels is not None:
        travels.values.to_csv(out / "transfer.csv", index=False)
    report = out / "report.html"
    counts = {study_title: len(study.runs) for study_title, study in studies.items()}
    text = render_page("across", out, studies=counts, ranks=ranks, travel=travels)
    report.write_text(text, encoding="utf-8")
    return report


def _by_title(folders: Sequence[Path]) -> dict[str, Study]:
    """The studies by their task.

    Raises:
        AnalysisError: if two are of one task, for then neither stands for it, or one is no grid.
    """
    found: dict[str, Study] = {}
    for study in [study for folder in folders for study in split(folder)]:
        name = title(key_of(study))
        if study.trials is not None:
            raise AnalysisError(
                f"{study.name} draws its runs from a space; rates travel between grids of rates"
            )
        if name in found:
            raise AnalysisError(
                f"{found[name].name} and {study.name} are both of {name}; give one for each task"
            )
        found[name] = study
    return found
