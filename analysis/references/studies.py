"""The committed studies: their commands, and what is kept of a study's folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from analysis.across import draw_across
from analysis.data.studies import GRID
from analysis.figures.look import ON_SCREEN
from study.errors import UsageError
from study.paths import REFERENCE

COMMANDS = REFERENCE / "commands.yaml"

KEPT = ("plan.json", "runs.parquet", "history.parquet", "layers.parquet", "robustness.csv", "pairs.csv")
REPORTS = ("lr_grid", "lr_grid_s2i", "lr_grid_subject")
"""Studies of which the report is kept too; one is a megabyte or more."""

ACROSS = "across"
"""The folder of what is compared over the tasks of all grids of learning rates."""

FIGURES = (".png", ".pdf", ".csv")


def commands() -> dict[str, list[str]]:
    """What `study.sweep` is given for each study, by the name of its folder."""
    loaded = yaml.safe_load(COMMANDS.read_text(encoding="utf-8"))
    return {name: words.split() for name, words in loaded.items()}


def draw_grids_across() -> None:
    """Draws results/reference/across, without its report: a megabyte and more, and its figures are there."""
    grids = [REFERENCE / name for name in commands() if name == GRID or name.startswith(f"{GRID}_")]
    draw_across(grids, REFERENCE / ACROSS, ON_SCREEN).unlink()


def keep(made: Path, name: str) -> None:
    """Puts what is kept of made/name in the place of results/reference/name.

    Raises:
        UsageError: if made/name has no finished tables.
    """
    source, target = made / name, REFERENCE / name
    if not (source / "runs.parquet").exists():
        raise UsageError(f"{source} has no runs.parquet; make references trains it")
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for file in [*KEPT, *["report.html"] * (name in REPORTS)]:
        if (source / file).exists():
            shutil.copyfile(source / file, target / file)
    if (source / "samples").exists():
        shutil.copytree(source / "samples", target / "samples")
    for figure in sorted((source / "figures").rglob("*")):
        if figure.suffix in FIGURES:
            copy = target / figure.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(figure, copy)
