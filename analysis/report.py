"""`python -m analysis.report NAME`: redraws a study from its records alone.

Writes results/NAME/robustness.csv, figures/ (PNG, PDF and CSV each) and report.html, one file that
needs nothing else. A study of several subsets or data sets, whose scores do not compare, has a section for
each, with figures in folders of their own.

With several names, studies of different tasks, it writes results/across/: average ranks over the tasks, what
a learning rate tuned on one loses on the others (transfer.csv), and performance profiles.

With width=column or width=page the figures alone are drawn, for print, into figures/column or figures/page.
With export=latex (markdown, csv) it writes, instead, results/NAME/export/: the table of results with
intervals and significance; but for csv, the protocol in words and methods.bib.
"""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.across import draw_across
from analysis.command import EXIT, LOOK, RESULTS, draw_report, look_of
from analysis.data.pictures import content_of
from analysis.data.studies import distinct_titles, split
from analysis.data.table import AnalysisError, Study
from analysis.data.training_set import training_set_of
from analysis.exporting.write import FORMATS, export
from analysis.figures.look import ON_SCREEN, Look, looking, ordered
from analysis.reporting.importance import importance_section
from analysis.reporting.many import RanksSection, over_all, pairs_section
from analysis.reporting.page import Picture, records, render_page
from analysis.reporting.pictures import draw_every, folder_of
from analysis.reporting.sections import run_sections, study_sections
from analysis.reporting.summary import summary
from analysis.reporting.travel import TravelSection, travel
from analysis.reporting.tuning import tuning_section
from analysis.statistics.robustness import robustness_table
from study.cli.arguments import Arguments, Command, Key
from study.cli.studies import study_folder
from study.errors import UsageError, nearest


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
    figures, tables, costs = folder_of(folder / "figures", look), {}, {}
    sections: list[dict[str, Any]] = []
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
            tuning = tuning_section(study)
            costs[title] = tuning.pop("tuning")
            if study.trials is not None:
                sections.append({"title": title, **space_section(study, pictures), **tuning})
                continue
            tables[title] = robustness_table(study.runs)
            sections.append({"title": title, **section(study, tables[title], pictures), **tuning})
    if look.width:
        return figures
    tests = {each["title"]: each["tests"] for each in sections if "tests" in each}
    for name, parts in {"robustness": tables, "pairs": tests, "tuning": costs}.items():
        _write_parts(parts, folder / f"{name}.csv")
    by_title = dict(zip(titles, studies, strict=True)) if len(tables) > 1 else {}
    ranks, travels = over_all(by_title, figures), travel(by_title, figures)
    report = folder / "report.html"
    report.write_text(page(folder, sections, studies, ranks, travels), encoding="utf-8")
    return report


def _write_parts(parts: dict[str, pd.DataFrame], path: Path) -> None:
    """One table of those of a folder's studies, each with its title, in the column `part`, if it has one."""
    named = [table.assign(part=title) if title else table for title, table in parts.items()]
    if any(len(table) for table in named):
        pd.concat(named).to_csv(path, index=False)


def space_section(study: Study, pictures: list[Picture]) -> dict[str, Any]:
    """Values for the part of the page on runs that are drawn from a space."""
    runs = study.runs
    return {
        "space": True,
        "task": f"{runs['task'].iloc[0]} ({runs['scale'].iloc[0]})",
        "metric": runs.loc[runs["counted"], "metric"].iloc[0],
        "training_set": training_set_of(runs),
        "base": f"{runs['base_test'].mean():.3f}",
        "chance": f"{runs['chance'].mean():.3f}",
        "count": len(runs),
        "pictures": pictures,
        **importance_section(study),
        **run_sections(study),
    }


def section(study: Study, table: pd.DataFrame, pictures: list[Picture]) -> dict[str, Any]:
    """Values for the part of the page on runs that compare with each other."""
    runs = study.runs
    return {
        "task": f"{runs['task'].iloc[0]} ({runs['scale'].iloc[0]})",
        "metric": runs.loc[runs["counted"], "metric"].iloc[0],
        "content": content_of(runs),
        "training_set": training_set_of(runs),
        "base": f"{runs['base_test'].mean():.3f}",
        "chance": f"{runs['chance'].mean():.3f}",
        "count": len(runs),
        "seeds": runs["seed"].nunique(),
        "rates": runs["lr"].nunique(),
        "summary": summary(study, table),
        **pairs_section(study),
        "pictures": pictures,
        **study_sections(study, table),
    }


def page(
    folder: Path,
    sections: list[dict[str, Any]],
    studies: list[Study],
    ranks: RanksSection | None,
    travels: TravelSection | None,
) -> str:
    """The report in HTML, which is going to be in the study's folder."""
    runs, name = pd.concat([study.runs for study in studies]), studies[0].name
    commits = {
        f"{sha or 'no checkout'}{' (with uncommitted changes)' if dirty else ''}"
        for sha, dirty in zip(runs["git_sha"], runs["git_dirty"], strict=True)
    }
    return render_page(
        "report",
        folder,
        name=name,
        sections=sections,
        ranks=ranks,
        travel=travels,
        command=shlex.join(["python", "-m", "analysis.report", name]),
        records=records(folder),
        versions=sorted(set(runs["versions"])),
        commits=sorted(commits),
        devices=sorted(set(runs["device"])),
    )


EXPORT = Key(
    "the table, the protocol and references for a paper instead: latex, markdown or csv", "latex",
    refuse=lambda value: "" if value in FORMATS else nearest(value, FORMATS),
)  # fmt: skip
OUT = Key("of several studies: where their report goes", "FOLDER", default="results/across")
KEYS = {"results": RESULTS, **LOOK, "export": EXPORT, "out": OUT}
COMMAND = Command("analysis.report", __doc__, name="NAME_OR_FOLDER", several=True, keys=KEYS, exit=EXIT)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, run)


def run(arguments: Arguments) -> int:
    """Draws, or exports.

    Raises:
        UsageError: if several studies are named and what is asked for is of one.
    """
    form = arguments.keys["export"]
    if len(arguments.names) > 1:
        if form:
            raise UsageError(f"export={form} is of one study; name one of {', '.join(arguments.names)}")
        folders = [study_folder(name, arguments.keys["results"], "runs.parquet") for name in arguments.names]
        print(f"report: {draw_across(folders, Path(arguments.keys['out']), look_of(arguments.keys))}")
        return 0
    if not form:
        return draw_report(draw, arguments)
    folder = study_folder(arguments.names[0], arguments.keys["results"], "runs.parquet")
    studies = split(folder)
    look = look_of(arguments.keys)
    shown = [ordered(study, look.of(study)) for study in studies]
    named = dict(zip(distinct_titles(studies), shown, strict=True))
    print(f"export: {export(named, folder, form)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
