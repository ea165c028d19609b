"""The studies that the paper is made of."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from analysis.data import studies
from analysis.data.studies import (
    ENCODER_ALONE,
    GRID,
    IMAGES,
    MINIATURES,
    PERTURBATION,
    S2I,
    SUBJECT,
    VTAB,
    Key,
    key_of,
)
from analysis.data.table import Study, load

BLOCKS, ENERGY = "blocks", "hyperspherical"
BLOCKS_LR = "blocks_lr"
"""The same question as BLOCKS on a whole grid of rates; where it is there, it answers."""
STUDIES = (GRID, ENERGY, PERTURBATION, BLOCKS, "mechanism")
"""Sweeps that the figures need; what is there of other tasks comes from `studies.read_all`."""

COMMITTED = "reference"
"""The folder of results/ with committed records."""


@dataclass(frozen=True)
class Records:
    """What there is to make the paper of.

    named: the studies of STUDIES that are there; lr_grid is vtab's; blocks is blocks_lr where that is there.
    grids: the studies of the sweep lr_grid, one for each task, scale and subset, vtab's first.
    perturbation, blocks: of those sweeps, in the same way.
    energy: the studies of the sweep hyperspherical of tasks that generate pictures.
    images: the studies of tasks that generate pictures, of a grid or of the paper's own settings.
    language: the studies of GLUE and instruction tuning, in the same way, of any sweep.
    heads: the studies of heads and control encoders trained alone, by task, scale and subset.
    """

    named: dict[str, Study]
    grids: list[Study]
    perturbation: list[Study]
    blocks: list[Study]
    energy: list[Study]
    images: list[Study]
    language: list[Study]
    heads: dict[Key, Study]

    def missing(self) -> dict[str, str]:
        """The studies that have no records, each with the command that makes it."""
        keys = {key_of(study) for study in self.grids}
        missing = {studies.folder_name(key): studies.command(key) for key in MINIATURES if key not in keys}
        others = [name for name in STUDIES if name != GRID and name not in self.named]
        asked_for = [BLOCKS_LR if name == BLOCKS else name for name in others]
        missing |= {name: f"python -m study.sweep {name}" for name in asked_for}
        if S2I not in self.heads:
            missing[ENCODER_ALONE] = f"python -m study.sweep {ENCODER_ALONE}"
        for sweep, there, asked in (
            (PERTURBATION, self.perturbation, [S2I, SUBJECT]),
            (BLOCKS, self.blocks, [S2I]),
            (ENERGY, self.energy, [S2I, SUBJECT]),
        ):
            for key in asked:
                if key not in map(key_of, there):
                    missing[studies.folder_name(key, sweep)] = studies.command(key, sweep)
        return missing

    def counts(self) -> dict[str, int]:
        """How many runs of each folder are used."""
        lists = (self.grids, self.perturbation, self.blocks, self.energy, self.images, self.language)
        every = [*self.named.values(), *self.heads.values(), *(study for part in lists for study in part)]
        rows = [s.runs.assign(study=s.runs.get("study", s.name))[["study", "run_id"]] for s in every]
        return pd.concat(rows).drop_duplicates()["study"].value_counts(sort=False).to_dict() if rows else {}


def gather(results: Path) -> Records:
    """Reads every study under `results` that the paper is made of.

    The tasks that generate pictures train longer than all the rest: what is not there of them is taken from
    the committed records, results/reference, and named so.
    """
    here, committed = studies.read_all(results), studies.read_all(results / COMMITTED, IMAGES)

    def first(choose: Callable[[Iterable[Study]], list[Study]]) -> list[Study]:
        chosen = choose(here)
        keys = {key_of(study) for study in chosen}
        return chosen + [_as_committed(study) for study in choose(committed) if key_of(study) not in keys]

    named = {}
    for name in [name for name in STUDIES if name != GRID]:
        folders = [results / each for each in ([BLOCKS_LR, BLOCKS] if name == BLOCKS else [name])]
        if there := [folder for folder in folders if (folder / "runs.parquet").exists()]:
            named[name] = load(there[0])
    grids = first(studies.grids)
    if grids and key_of(grids[0]) == VTAB:
        named = {GRID: grids[0]} | named

    def of_sweep(sweep: str) -> list[Study]:
        others = first(lambda some: studies.of_sweep(some, sweep))
        if sweep == BLOCKS:
            wider = first(lambda some: studies.of_sweep(some, BLOCKS_LR))
            others = [*wider, *(s for s in others if key_of(s) not in map(key_of, wider))]
        return [
            *(named[name] for name in (sweep,) if name in named),
            *(study for study in others if key_of(study) != VTAB),
        ]

    return Records(
        named=named,
        grids=grids,
        perturbation=of_sweep(PERTURBATION),
        blocks=of_sweep(BLOCKS),
        energy=[s for s in first(lambda some: studies.of_sweep(some, ENERGY)) if key_of(s)[0] in IMAGES],
        images=first(studies.images),
        language=studies.language(here),
        heads={k: _as_committed(s) for k, s in studies.heads(committed).items()} | studies.heads(here),
    )


def _as_committed(study: Study) -> Study:
    name = f"{COMMITTED}/{study.name}"
    return replace(study, name=name, runs=study.runs.assign(study=f"{COMMITTED}/" + study.runs["study"]))
