"""Loading a pretrained model from a hub name or a local path, refusing one that is not whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn
from transformers.utils import logging

from study.errors import UsageError, first_line


def load_pretrained(auto_class: Any, path: str, new_modules: list[str], **kwargs: Any) -> nn.Module:
    """The model in float32 on the CPU, frozen.

    Args:
        auto_class: one of transformers' `AutoModelFor...` classes.
        path: hub name or local folder, as written by `save_pretrained`.
        new_modules: modules that the task trains anew and that the checkpoint need not hold.

    Raises:
        UsageError: if there is no such checkpoint, it cannot be read, or weights are missing from it.
    """
    folder = Path(path)
    if (path.startswith((".", "/", "~")) or path.count("/") > 1) and not folder.is_dir():
        raise UsageError(f"task.model={path}: no such folder")
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise UsageError(f"task.model={path}: no config.json; give a folder made by save_pretrained")
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what it would warn of is checked below
    logging.disable_progress_bar()
    try:
        model, info = auto_class.from_pretrained(
            path,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            **kwargs,
        )
    except Exception as error:
        raise UsageError(f"task.model={path}: cannot be loaded: {first_line(error)}") from None
    finally:
        logging.set_verbosity(verbosity)
    broken = {*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])}
    lost = sorted(k for k in broken if not any(part in new_modules for part in k.split(".")))
    if lost:
        raise UsageError(
            f"task.model={path}: {len(lost)} weights are missing or of another shape, such as {lost[0]}"
        )
    return model.requires_grad_(False)
