"""The trials of a study that draws its runs from a space, with their results."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from study.planning.space import LEARNING
from study.storage import trials as trials_file
from study.storage.rows import FINISHED


@dataclass(frozen=True)
class TrialsOfStudy:
    """How trials were drawn, and what they came to.

    sampler: random | qmc | tpe | gp. pruner: none | halving | hyperband.
    spaces: label -> the range or choices of each key.
    table: a row per trial that was trained to its end and did not fail, in the order in which they were
        asked for: label, trial (its number, from 0), valid, test (means over its runs), diverged (whether
        each of them did), and a column per key of the space.
    """

    sampler: str
    pruner: str
    spaces: dict[str, dict[str, object]]
    table: pd.DataFrame

    @property
    def pruned(self) -> bool:
        """Whether trials are ended early, so that the table has the better ones alone."""
        return self.pruner != "none"

    @property
    def one_search(self) -> bool:
        """Whether trials depend on each other, so that only the search that took place is one."""
        return self.sampler in LEARNING or self.pruned


def is_space(folder: Path) -> bool:
    """Whether the runs in a study's folder are drawn from a space."""
    return (folder / trials_file.FILE).is_file()


def read_trials(folder: Path, runs: pd.DataFrame) -> TrialsOfStudy | None:
    """The trials of the study in a folder; None if its runs are of no space.

    Args:
        runs: columns of `schema.RUNS` and `label`, as of `analysis.data.table.Study`.

    Raises:
        UsageError: if trials.json is damaged, or a newer version wrote it.
    """
    known = trials_file.read(folder)
    if known is None:
        return None
    ended = runs[runs["status"].isin(FINISHED)].set_index("run_id")
    by_id = {
        str(run_id): (str(status), float(valid), float(test))
        for run_id, status, valid, test in zip(
            ended.index, ended["status"], ended["valid"], ended["test"], strict=True
        )
    }
    rows = []
    for method, of in known.methods.items():
        for number, trial in enumerate(of.trials):
            results = [by_id[run_id] for run_id in trial.run_ids if run_id in by_id]
            if results:
                statuses, valid, test = zip(*results, strict=True)
                row = {"label": method, "trial": number, "valid": np.mean(valid), "test": np.mean(test)}
                rows.append(row | {"diverged": set(statuses) == {"diverged"}} | dict(trial.values))
    spaces = {method: dict(of.space) for method, of in known.methods.items()}
    columns = ["label", "trial", "valid", "test", "diverged"]
    return TrialsOfStudy(
        known.sampler, known.pruner, spaces, pd.DataFrame(rows) if rows else pd.DataFrame(columns=columns)
    )
