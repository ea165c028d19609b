"""The adapters that runs leave: `results/<name>/adapters/<method>_lr<rate>_seed<seed>_<run_id>/`.

Config and safetensors for `PeftModel.from_pretrained`, which `study.training.save_adapter` writes, and what
lets them travel (`study.storage.adapters.card`): a model card and, where `peft` does not know the method, a
module that loads them. Only the run_id at the end of a folder's name is ever read; older studies have it
alone.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from study.planning.runs import Run
from study.storage.rows import FINISHED

if TYPE_CHECKING:
    import pandas as pd


def new_folder(folder: Path, run: Run) -> Path:
    """Where a run's adapter is to be: a name that says what it is, made unique by the run_id."""
    method = re.sub(r"[^\w-]+", "-", run.method)
    return folder / "adapters" / f"{method}_lr{run.lr:g}_seed{run.seed}_{run.run_id}"


def saved(folder: Path) -> dict[str, Path]:
    """The adapters that are there, by run_id."""
    there = sorted((folder / "adapters").glob("*/"))
    return {path.name.rpartition("_")[2]: path for path in there if not path.name.startswith(".")}


def folder_of(folder: Path, run_id: str) -> Path:
    """Where a run's adapter is; a folder that is not there if it has none. Of many runs: `saved`."""
    return saved(folder).get(run_id, folder / "adapters" / run_id)


def keep_best(folder: Path, runs: pd.DataFrame, planned: Collection[str]) -> list[str]:
    """Of every cell (`study.storage.tuned`) keeps the adapters of all seeds at the tuned rate.

    Only what cannot become best by doing what is missing is removed: nothing before every planned run has a
    record, nothing of a cell in which a run failed, and no adapter without a record. Rates that are added
    later move the tuned rate to themselves or not at all; seeds that are added may move it to a rate whose
    adapters are gone.

    Args:
        runs: the table of all runs of the study.
        planned: run_ids of this command's plan.

    Returns:
        What was kept and removed, and what is not there though it is best, a line each.
    """
    from study.storage.tuned import cells, differing_settings, tuned_lr  # takes time to import

    left = len(set(planned) - set(runs["run_id"]))
    if left:
        return [f"adapters: all are kept until every run has ended; {left} have not"]
    kept, removed, incomplete = 0, 0, []
    there = saved(folder)
    for rows in cells(runs):
        counted = rows[rows["status"].isin(FINISHED)]
        if not counted["valid"].notna().any():
            continue
        lr = tuned_lr(rows)
        tuned = counted.loc[counted["lr"] == lr, "run_id"]
        of_cell = there.keys() & set(rows["run_id"])
        failed = len(rows) - len(counted)
        title = " ".join(filter(None, [rows["method"].iloc[0], differing_settings(rows.iloc[0], runs)]))
        if failed and of_cell:
            incomplete.append(f"adapters: all of {title} are kept, for {failed} of its runs failed")
        superfluous = set() if failed else of_cell - set(tuned)
        for run_id in sorted(superfluous):
            shutil.rmtree(there[run_id])
        kept, removed = kept + len(of_cell - superfluous), removed + len(superfluous)
        if lacking := len(set(tuned) - of_cell):
            incomplete.append(
                f"adapters: {title} is best at lr={lr:g}, where {lacking} of {len(tuned)} seeds have none: "
                "they were trained without saving them, in another study, or when another rate was best"
            )
    return [f"adapters: {kept} kept, all seeds of each tuned rate; {removed} removed", *incomplete]
