"""`python -m analysis.references STEP`: the committed studies, and what follows from them.

    commands  prints what study.sweep is given for each study, a line each
    keep      copies what is kept of the studies trained into FOLDER to results/reference
    follow    draws results/reference/paper, results/reference/across and README's picture from the committed
              studies, and writes the figures of the tables in README and docs anew

`make references` does all of it, and goes on where it was interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path

from analysis.command import EXIT
from analysis.data.studies import split
from analysis.paper.first_screen import NAME, draw_first_screen
from analysis.paper.records import gather
from analysis.paper.report import make
from analysis.references.studies import commands, draw_grids_across, keep
from analysis.references.texts import rewritten
from study.cli.arguments import Arguments, Command, Key
from study.errors import UsageError, nearest
from study.paths import REFERENCE

FOLDER = "build/references"
KEYS = {
    "from": Key("where the studies are trained", FOLDER, default=FOLDER),
    "only": Key("some of them alone", "lr_grid,blocks"),
}
STEPS = ("commands", "keep", "follow")
COMMAND = Command("analysis.references", __doc__, name="STEP", keys=KEYS, exit=EXIT)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, run)


def run(arguments: Arguments) -> int:
    """Takes the step; returns the exit code.

    Raises:
        UsageError: if there is no such step or study.
    """
    (step,), folder = arguments.names, Path(arguments.keys["from"])
    studies = commands()
    chosen = list(filter(None, arguments.keys["only"].split(","))) or list(studies)
    if unknown := [name for name in chosen if name not in studies]:
        raise UsageError(f"only={unknown[0]}: {nearest(unknown[0], studies)}")
    if step == "commands":
        for name in chosen:
            print(*studies[name], f"name={name}", f"results={folder}")
    elif step == "keep":
        for name in chosen:
            keep(folder, name)
    elif step == "follow":
        print(f"report: {make(REFERENCE, gather(REFERENCE))}")
        draw_grids_across()
        project = REFERENCE.parents[1]
        picture = project / "docs" / "assets" / f"{NAME}.png"
        draw_first_screen(split(REFERENCE / "lr_grid_subject")[0], picture)
        for page in [project / "README.md", *sorted((project / "docs").glob("*.md"))]:
            text = page.read_text(encoding="utf-8")
            if (new := rewritten(text)) != text:
                page.write_text(new, encoding="utf-8")
                print(f"written anew: {page}")
    else:
        raise UsageError(f"{step}: {nearest(step, STEPS)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
