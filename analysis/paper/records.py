"""The studies that the paper is made of."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.data import studies
from analysis.data.studies import GRID, MINIATURES, VTAB, Key, key_of
from analysis.data.table import Study, load

STUDIES = (GRID, "hyperspherical", "perturbation", "blocks", "mechanism")
"""Sweeps that the figures need; what is there of other tasks comes from GLUE and instruction tuning."""


@dataclass(frozen=True)
class Records:
    """What there is to make the paper of.

    named: the studies of STUDIES that are there; lr_grid is vtab's.
    grids: the studies of the sweep lr_grid, one for each task, scale and subset, vtab's first.
    language: the studies of GLUE and instruction tuning, in the same way, of any sweep.
    heads: the studies of heads trained alone, by task, scale and subset.
    """

    named: dict[str, Study]
    grids: list[Study]
    language: list[Study]
    heads: dict[Key, Study]

    def missing(self) -> dict[str, str]:
        """The studies that have no records, each with the command that makes it."""
        keys = {key_of(study) for study in self.grids}
        missing = {studies.folder_name(key): studies.command(key) for key in MINIATURES if key not in keys}
        others = [name for name in STUDIES if name != GRID and name not in self.named]
        return missing | {name: f"python -m study.sweep {name}" for name in others}

    def counts(self) -> dict[str, int]:
        """How many runs of each folder are used."""
        every = [*self.named.values(), *self.grids, *self.language, *self.heads.values()]
        rows = [s.runs.assign(study=s.runs.get("study", s.name))[["study", "run_id"]] for s in every]
        return pd.concat(rows).drop_duplicates()["study"].value_counts(sort=False).to_dict() if rows else {}


def gather(results: Path) -> Records:
    """Reads every study under `results` that the paper is made of."""
    available = studies.read_all(results)
    grids = studies.grids(available)
    named = {GRID: grids[0]} if grids and key_of(grids[0]) == VTAB else {}
    for name in STUDIES:
        if name != GRID and (results / name / "runs.parquet").exists():
            named[name] = load(results / name)
    return Records(named, grids, studies.language(available), studies.heads(available))
