"""The adapters that runs leave: `results/<name>/adapters/<run_id>/`, as `peft` saves them.

Config, safetensors and model card, for `PeftModel.from_pretrained`; `study.training.save_adapter` writes
them.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


def folder_of(folder: Path, run_id: str) -> Path:
    return folder / "adapters" / run_id


def keep_best(folder: Path, runs: pd.DataFrame) -> None:
    """Of every method (with its options) keeps the adapter of the run with the best validation score."""
    ended = runs[runs["status"] == "ok"]
    if not len(ended):
        return
    sign = 1 if bool(ended["higher_is_better"].iloc[0]) else -1
    options = [column for column in ended.columns if column.startswith("method.")]
    ranked = ended.assign(rank=sign * ended["valid"]).sort_values("rank", ascending=False, kind="stable")
    best = set(ranked.drop_duplicates(["method", *options])["run_id"])
    for path in (folder / "adapters").glob("*"):
        if path.name not in best:
            shutil.rmtree(path)
