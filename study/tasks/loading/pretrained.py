"""Loading pretrained models and tokenizers from a hub name or a local path, refusing what is not whole."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging

from study.errors import UsageError, first_line
from study.tasks.loading.sources import hub_error, is_local, local_path

_SKELETONS = ContextVar("skeletons", default=False)


@contextlib.contextmanager
def skeletons() -> Iterator[None]:
    """Inside, models are built on the meta device: shapes without weights, to count with."""
    token = _SKELETONS.set(True)
    try:
        yield
    finally:
        _SKELETONS.reset(token)


def builds_skeletons() -> bool:
    """Whether a model that is asked for now is to be built on the meta device."""
    return _SKELETONS.get()


MODEL = "task.model"
"""The setting that names a base model; what else is loaded is named by another one."""


def _check_folder(path: str, key: str = MODEL) -> None:
    folder = local_path(key, path)
    if folder is not None and not folder.is_dir():
        raise UsageError(f"{key}={path}: a file; give a folder made by save_pretrained")
    if folder is not None and not (folder / "config.json").is_file():
        raise UsageError(f"{key}={path}: no config.json; give a folder made by save_pretrained")


def _cannot_load(path: str, what: str, error: Exception, key: str = MODEL) -> UsageError:
    if is_local(path):
        return UsageError(f"{key}={path}: {what}cannot be loaded: {first_line(error)}")
    return hub_error(key, path, error)


def load_config(path: str, key: str = MODEL, **kwargs: Any) -> PretrainedConfig:
    """A model's configuration alone.

    Args:
        key: the setting that names the model, for what is said of it.

    Raises:
        UsageError: if there is none.
    """
    _check_folder(path, key)
    try:
        return AutoConfig.from_pretrained(path, **kwargs)
    except Exception as error:
        raise _cannot_load(path, "", error, key) from None


def load_image_processor(path: str, key: str = MODEL) -> Any:
    """What says how a model's pictures are scaled.

    Raises:
        UsageError: if there is none.
    """
    _check_folder(path, key)
    try:
        return AutoImageProcessor.from_pretrained(path)
    except Exception as error:
        raise _cannot_load(path, "its image processor ", error, key) from None


def load_tokenizer(path: str) -> PreTrainedTokenizerBase:
    """A model's tokenizer; one without a token for padding (Llama, GPT-2) pads with its end of text.

    What is padded is masked, in attention and loss, so it does not matter which token fills it.

    Raises:
        UsageError: if there is none, or it has neither token.
    """
    _check_folder(path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:
        raise _cannot_load(path, "its tokenizer ", error) from None
    if tokenizer.pad_token_id is None:
        if tokenizer.eos_token_id is None:
            raise UsageError(
                f"task.model={path}: its tokenizer has neither a padding nor an end-of-text token"
            )
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_pretrained(
    auto_class: Any, path: str, new_modules: Sequence[str], key: str = MODEL, **kwargs: Any
) -> nn.Module:
    """The model in float32 on the CPU, frozen.

    Args:
        auto_class: one of transformers' `AutoModelFor...` classes.
        path: hub name or local folder, as written by `save_pretrained`.
        new_modules: modules that the task trains anew and that the checkpoint need not hold.
        key: the setting that names the model, for what is said of it.

    Raises:
        UsageError: if there is no such checkpoint, it cannot be read, or weights are missing from it.
    """
    _check_folder(path, key)
    if builds_skeletons():
        config = load_config(path, key, **{k: v for k, v in kwargs.items() if k != "dtype"})
        with torch.device("meta"):
            return auto_class.from_config(config, dtype=kwargs.get("dtype", torch.float32)).requires_grad_(
                False
            )
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()  # what it would warn of is checked below
    logging.disable_progress_bar()
    try:
        model, info = auto_class.from_pretrained(
            path,
            output_loading_info=True,
            use_safetensors=True,
            ignore_mismatched_sizes=True,
            **{"dtype": torch.float32, **kwargs},
        )
    except Exception as error:
        raise _cannot_load(path, "", error, key) from None
    finally:
        logging.set_verbosity(verbosity)
    unusable = {*info["missing_keys"], *(entry[0] for entry in info["mismatched_keys"])}
    needed = sorted(k for k in unusable if not any(part in new_modules for part in k.split(".")))
    if needed:
        heads = ("classifier", "score", "head", "pooler")
        new_head = key == MODEL and needed[0].split(".")[0] in heads
        hint = "; task.head_lr=1e-3 trains a new head" if new_head else ""
        raise UsageError(
            f"{key}={path}: {len(needed)} weights are missing or of another shape, such as {needed[0]}{hint}"
        )
    return model.requires_grad_(False)


def block_layers(model: nn.Module) -> list[str]:
    """Names of the linear layers of a model's blocks, each once: `attention.self.query_proj`, ...

    Blocks are what stands in a numbered list of modules, as every transformer's do.
    """
    from transformers.pytorch_utils import Conv1D

    layers: dict[str, None] = {}  # a set that stays in order
    for name, module in model.named_modules():
        parts = name.split(".")
        numbered = [i for i, part in enumerate(parts) if part.isdigit()]
        if numbered and isinstance(module, nn.Linear | Conv1D):
            layers[".".join(parts[numbered[0] + 1 :])] = None
    return list(layers)


def head_layers(path: str, **options: Any) -> list[str]:
    """The layers with parameters that a classifier has beside the pretrained model: `pooler.dense`, ...

    Not the modules that hold them: most tuners of peft cannot give back one without a weight of its own.
    """
    with skeletons():
        model = load_pretrained(AutoModelForSequenceClassification, path, [], **options)
    return [
        name
        for name, layer in model.named_modules()
        if name.split(".")[0] != model.base_model_prefix and list(layer.parameters(recurse=False))
    ]
