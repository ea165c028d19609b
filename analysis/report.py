"""`python -m analysis.report NAME`: redraws a study from its records alone.

Writes results/NAME/robustness.csv, figures/ (PNG, PDF and CSV each) and report.html, one file that
needs nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

from analysis.command import EXIT, RESULTS, draw_report
from analysis.data.table import AnalysisError, Study, load
from analysis.figures.catalogue import STUDY_FIGURES
from analysis.reporting.page import Picture, render_page
from analysis.reporting.sections import study_sections
from analysis.reporting.summary import summary
from analysis.statistics.robustness import robustness_table
from study.cli.arguments import Command


def draw(folder: Path) -> Path:
    """Redraws everything for the study in `folder`; returns the report's path.

    Raises:
        AnalysisError: if the tables are missing, of a newer version, or cannot be compared.
    """
    study = load(folder)
    if not study.runs["counted"].any():
        raise AnalysisError(f"{folder} holds no run that ended; see the reasons in runs.parquet")
    table = robustness_table(study.runs)
    table.to_csv(folder / "robustness.csv", index=False)
    pictures = [Picture(figure.draw(study, folder / "figures"), figure.caption) for figure in STUDY_FIGURES]
    report = folder / "report.html"
    report.write_text(page(study, table, pictures), encoding="utf-8")
    return report


def page(study: Study, table: pd.DataFrame, pictures: list[Picture]) -> str:
    """The report in HTML."""
    runs = study.runs
    return render_page(
        "report",
        name=study.name,
        task=f"{runs['task'].iloc[0]} ({runs['scale'].iloc[0]})",
        metric=runs["metric"].iloc[0],
        base=f"{runs['base_test'].mean():.3f}",
        chance=f"{runs['chance'].mean():.3f}",
        count=len(runs),
        seeds=runs["seed"].nunique(),
        rates=runs["lr"].nunique(),
        summary=summary(study, table),
        pictures=pictures,
        versions=sorted(set(runs["versions"])),
        commits=sorted(
            {f"{sha or 'no checkout'}{' (with uncommitted changes)' if dirty else ''}"
             for sha, dirty in zip(runs["git_sha"], runs["git_dirty"], strict=True)}
        ),
        devices=sorted(set(runs["device"])),
        **study_sections(study, table),
    )  # fmt: skip


COMMAND = Command("analysis.report", __doc__, name="NAME_OR_FOLDER", keys={"results": RESULTS}, exit=EXIT)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, lambda parsed: draw_report(draw, parsed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
