"""The adapters that runs leave: `results/<name>/adapters/<run_id>/`, as `peft` saves them.

Config, safetensors and model card, for `PeftModel.from_pretrained`; `study.training.save_adapter` writes
them.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def folder_of(folder: Path, run_id: str) -> Path:
    return folder / "adapters" / run_id


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
    for rows in cells(runs):
        counted = rows[rows["status"] != "failed"]
        if not counted["valid"].notna().any():
            continue
        lr = tuned_lr(rows)
        tuned = counted.loc[counted["lr"] == lr, "run_id"]
        saved = {run_id for run_id in rows["run_id"] if folder_of(folder, run_id).is_dir()}
        failed = len(rows) - len(counted)
        title = " ".join(filter(None, [rows["method"].iloc[0], differing_settings(rows.iloc[0], runs)]))
        if failed and saved:
            incomplete.append(f"adapters: all of {title} are kept, for {failed} of its runs failed")
        superfluous = set() if failed else saved - set(tuned)
        for run_id in sorted(superfluous):
            shutil.rmtree(folder_of(folder, run_id))
        kept, removed = kept + len(saved - superfluous), removed + len(superfluous)
        if lacking := len(set(tuned) - saved):
            incomplete.append(
                f"adapters: {title} is best at lr={lr:g}, where {lacking} of {len(tuned)} seeds have none: "
                "they were trained without saving them, in another study, or when another rate was best"
            )
    return [f"adapters: {kept} kept, all seeds of each tuned rate; {removed} removed", *incomplete]
