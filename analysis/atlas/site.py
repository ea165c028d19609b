"""`python -m analysis.atlas`: the pages about every method on every task, from records alone.

Reads the studies that `python -m study.atlas` left in results/atlas, and writes there index.html,
methods/NAME.html, tasks/NAME.html, atlas.csv (the table of the index) and figures/. The pages are plain
files: they need no server and no network, and are complete without JavaScript.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

from analysis.atlas.collected import Collected, collect
from analysis.atlas.curves import CAPTION, draw_curves
from analysis.atlas.numbers import summary
from analysis.atlas.pages import METHODS, TASKS, Linked, OverTasks, index, of_method, of_task, page_name
from analysis.atlas.profiles import CAPTION as PROFILES
from analysis.atlas.profiles import can_be_drawn, draw_profiles, gaps
from analysis.command import EXIT, RESULTS
from analysis.figures import robustness
from analysis.reporting.many import RanksSection, over_all
from analysis.reporting.page import Link, records, render_page
from study.cli.arguments import Arguments, Command
from study.cli.studies import ATLAS

FIGURES = "figures"


def draw(folder: Path) -> Path:
    """Draws the pages of the atlas in `folder`; returns the index's path.

    Raises:
        UsageError: if there is no atlas, or its tables are missing, damaged or hold no run that ended.
    """
    atlas = collect(Path(folder))
    for name in (METHODS, TASKS, FIGURES):
        shutil.rmtree(atlas.folder / name, ignore_errors=True)
    table = summary(atlas)
    table.to_csv(atlas.folder / "atlas.csv", index=False)
    for name, task in atlas.tasks.items():
        task.table.drop(index=[*task.joined]).to_csv(atlas.folder / name / "robustness.csv", index=False)
        figure = robustness.draw_robustness(task.study, atlas.folder / FIGURES / TASKS / name)
        page = of_task(atlas, task, figure, robustness.CAPTION)
        _write("atlas_task", atlas, TASKS, name, page | {"records": _records(atlas, name)})
    for _, row in table.iterrows():
        label = str(row["label"])
        name = Path(page_name(label)).stem
        figure = draw_curves(label, atlas.tasks, atlas.folder / FIGURES / METHODS, name)
        _write("atlas_method", atlas, METHODS, label, of_method(atlas, label, row, figure, CAPTION))
    path = atlas.folder / "index.html"
    page = index(atlas, table, OverTasks(_ranks(atlas), _profiles(atlas)))
    path.write_text(render_page("atlas", atlas.folder, **page), encoding="utf-8")
    return path


def _write(template: str, atlas: Collected, kind: str, name: str, values: dict[str, Any]) -> None:
    folder = atlas.folder / kind
    folder.mkdir(parents=True, exist_ok=True)
    page = render_page(template, folder, **values)
    (folder / page_name(name)).write_text(page, encoding="utf-8")


def _records(atlas: Collected, name: str) -> list[Link]:
    """The study's tables, as seen from the pages of tasks."""
    study, pages = atlas.folder / name, atlas.folder / TASKS
    return [Link(link.text, os.path.relpath(study / link.address, pages)) for link in records(study)]


def _ranks(atlas: Collected) -> RanksSection | None:
    section = over_all({task.title: task.study for task in atlas.tasks.values()}, atlas.folder / FIGURES)
    if section is None:
        return None
    return RanksSection(Linked(section.picture.path, section.picture.caption), section.note, section.table)


def _profiles(atlas: Collected) -> Linked | None:
    found = gaps(atlas.tasks)
    if not can_be_drawn(found):
        return None
    return Linked(draw_profiles(found, atlas.method_of, atlas.folder / FIGURES), PROFILES)


COMMAND = Command("analysis.atlas", __doc__, keys={"results": RESULTS}, exit=EXIT)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, run)


def run(arguments: Arguments) -> int:
    print(f"atlas: {draw(Path(arguments.keys['results']) / ATLAS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
