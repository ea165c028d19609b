"""`python -m analysis.report NAME`: redraws a study from its records alone.

Writes results/NAME/robustness.csv, figures/ (PNG, PDF and CSV each) and report.html, one file that
needs nothing else. A study of several subsets or data sets, whose scores do not compare, has a section for
each, with figures in folders of their own.

With width=column or width=page the figures alone are drawn, for print, into figures/column or figures/page.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.command import EXIT, LOOK, RESULTS, draw_report
from analysis.data.pictures import content_of
from analysis.data.studies import distinct_titles, split
from analysis.data.table import AnalysisError, Study
from analysis.figures.look import ON_SCREEN, Look, looking, ordered
from analysis.reporting.page import Picture, render_page
from analysis.reporting.pictures import draw_every, folder_of
from analysis.reporting.sections import study_sections
from analysis.reporting.summary import summary
from analysis.statistics.robustness import robustness_table
from study.cli.arguments import Command


def draw(folder: Path, look: Look = ON_SCREEN) -> Path:
    """Redraws everything for the study in `folder`; returns the report's path.

    With a width the figures alone are drawn, into a folder of their own, and its path is returned.

    Raises:
        AnalysisError: if the tables are missing, of a newer version, or cannot be compared.
        UsageError: if the look names a method that the study does not have.
    """
    folder = Path(folder)
    studies = split(folder)
    if not any(study.runs["counted"].any() for study in studies):
        raise AnalysisError(f"{folder} holds no run that ended; see the reasons in runs.parquet")
    titles = distinct_titles(studies)
    figures, tables, sections = folder_of(folder / "figures", look), {}, []
    for study, title in zip(studies, titles, strict=True):
        if not study.runs["counted"].any():
            sections.append({"title": title, "count": len(study.runs), "empty": True})
            continue
        of_study = look.of(study)
        study = ordered(study, of_study)
        with looking(of_study):
            pictures = draw_every(study, figures / re.sub(r"[^\w.-]+", "_", title))
            if look.width:
                continue
            tables[title] = robustness_table(study.runs)
            sections.append({"title": title, **section(study, tables[title], pictures)})
    if look.width:
        return figures
    named = [table if len(studies) == 1 else table.assign(part=title) for title, table in tables.items()]
    pd.concat(named).to_csv(folder / "robustness.csv", index=False)
    report = folder / "report.html"
    report.write_text(page(studies[0].name, sections, studies), encoding="utf-8")
    return report


def section(study: Study, table: pd.DataFrame, pictures: list[Picture]) -> dict[str, Any]:
    """Values for the part of the page on runs that compare with each other."""
    runs = study.runs
    return {
        "task": f"{runs['task'].iloc[0]} ({runs['scale'].iloc[0]})",
        "metric": runs.loc[runs["counted"], "metric"].iloc[0],
        "content": content_of(runs),
        "base": f"{runs['base_test'].mean():.3f}",
        "chance": f"{runs['chance'].mean():.3f}",
        "count": len(runs),
        "seeds": runs["seed"].nunique(),
        "rates": runs["lr"].nunique(),
        "summary": summary(study, table),
        "pictures": pictures,
        **study_sections(study, table),
    }


def page(name: str, sections: list[dict[str, Any]], studies: list[Study]) -> str:
    """The report in HTML."""
    runs = pd.concat([study.runs for study in studies])
    commits = {
        f"{sha or 'no checkout'}{' (with uncommitted changes)' if dirty else ''}"
        for sha, dirty in zip(runs["git_sha"], runs["git_dirty"], strict=True)
    }
    return render_page(
        "report",
        name=name,
        sections=sections,
        versions=sorted(set(runs["versions"])),
        commits=sorted(commits),
        devices=sorted(set(runs["device"])),
    )


COMMAND = Command(
    "analysis.report", __doc__, name="NAME_OR_FOLDER", keys={"results": RESULTS, **LOOK}, exit=EXIT
)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, lambda parsed: draw_report(draw, parsed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
