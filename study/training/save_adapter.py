"""The adapter of one run of a pack as a folder of `peft`'s: config, safetensors and model card."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch
from safetensors import SafetensorError

from study.errors import first_line
from study.storage.files import CannotWrite
from study.training.packing import PackedModel, RunParameters


@torch.no_grad()
def save_adapter(packed: PackedModel, parameters: RunParameters, run: int, folder: Path) -> None:
    """Writes the adapter of one run, for `PeftModel.from_pretrained`; it is there whole or not at all.

    Raises:
        CannotWrite: if the disk is full or the folder cannot be written.
    """
    state_dict = packed.state_dict(parameters.flat, run)
    partial = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        packed.peft_model.save_pretrained(str(partial), state_dict=state_dict)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except (OSError, SafetensorError) as error:
        raise CannotWrite(f"cannot write {folder}: {first_line(error)}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
