"""The adapters that runs leave: `results/<name>/adapters/<run_id>/`, as `peft` saves them.

Config, safetensors and model card, for `PeftModel.from_pretrained`.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import first_line
from study.storage.files import CannotWrite

if TYPE_CHECKING:
    import pandas as pd

    from study.training.packing import Pack


def folder_of(folder: Path, run_id: str) -> Path:
    return folder / "adapters" / run_id


def save(pack: Pack, run: int, target: Path) -> None:
    """Writes the adapter of one run of a pack, as it was bound last; it is there whole or not at all.

    Raises:
        CannotWrite: if the disk is full or the folder cannot be written.
    """
    from safetensors import SafetensorError

    for packed in pack.packed.values():
        packed.take(run)
    pack.show_inner()
    partial = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        pack.peft_model.save_pretrained(str(partial))
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    except (OSError, SafetensorError) as error:
        raise CannotWrite(f"cannot write {target}: {first_line(error)}") from None
    finally:
        pack.show_packed()
        shutil.rmtree(partial, ignore_errors=True)


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
