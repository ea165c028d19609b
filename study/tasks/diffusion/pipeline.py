"""A diffusers pipeline's parts, by hub name or folder: what a task trains, samples and decodes with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from diffusers.utils import logging as diffusers_logging
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerBase
from transformers.utils import logging

from study.errors import UsageError, first_line
from study.tasks.diffusion.latents import Latents, UnshuffledPixels, VaeLatents
from study.tasks.loading.pretrained import builds_skeletons
from study.tasks.loading.sources import hub_error, is_local, local_path

PREDICTIONS = ("epsilon", "v_prediction")
"""What a UNet may have been trained to predict; the scheduler's config says it."""

NEEDED = ("unet", "text_encoder", "tokenizer", "scheduler")

KINDS = {"unet": "UNet2DConditionModel", "text_encoder": "CLIPTextModel", "vae": "AutoencoderKL"}
"""What these parts must be; others take or give something else."""

CONDITIONS = ("class_embed_type", "num_class_embeds", "addition_embed_type", "encoder_hid_dim_type")
"""Entries of a UNet's config that ask for more than a caption, as Stable Diffusion XL's do."""


@dataclass(frozen=True)
class Pipeline:
    """A text-to-image pipeline, whose UNet and text encoder are made on demand.

    Attributes:
        path: hub name or folder.
        scheduler: adds noise, says what the UNet predicts, and samples by DDIM.
        latents: between pictures and what the UNet works on.
        size: height and width of its pictures.
    """

    path: str
    tokenizer: PreTrainedTokenizerBase
    scheduler: DDIMScheduler
    latents: Latents
    size: int

    def unet(self) -> UNet2DConditionModel:
        """A fresh one, frozen, in float32 on the CPU; on the meta device where skeletons are asked for."""
        if builds_skeletons():
            config = _loaded(self.path, "unet", UNet2DConditionModel.load_config, self.path, subfolder="unet")
            with torch.device("meta"):
                return UNet2DConditionModel.from_config(config).requires_grad_(False)
        return _model(self.path, "unet", UNet2DConditionModel)

    def text_encoder(self) -> CLIPTextModel:
        """As `unet`."""
        if builds_skeletons():
            with torch.device("meta"):
                return CLIPTextModel(_text_config(self.path)).requires_grad_(False)
        return _model(self.path, "text_encoder", CLIPTextModel)

    def token_ids(self, captions: list[str]) -> torch.Tensor:
        """Captions as the text encoder takes them: (rows, tokens), all of one length."""
        ids = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        assert isinstance(ids, torch.Tensor)
        return ids


def load_pipeline(path: str) -> Pipeline:
    """The pipeline at `path`.

    Raises:
        UsageError: if there is none, a part of it is missing, cannot be read or does not fit the others, or
            its UNet predicts something else than PREDICTIONS.
    """
    parts = {part: kind for part, kind in _index(path).items() if isinstance(kind, list) and kind[0]}
    if missing := [part for part in NEEDED if part not in parts]:
        raise UsageError(f"task.model={path}: model_index.json has no {missing[0]}, which the task needs")
    for part, kind in KINDS.items():
        if part in parts and parts[part][1] != kind:
            raise UsageError(f"task.model={path}: its {part} is a {parts[part][1]}; the task takes a {kind}")
    scheduler = _scheduler(path)
    unet = _loaded(path, "unet", UNet2DConditionModel.load_config, path, subfolder="unet")
    tokenizer = _loaded(path, "tokenizer", AutoTokenizer.from_pretrained, path, subfolder="tokenizer")
    _check_unet(path, unet)
    _check_text(path, unet, tokenizer)
    latents: Latents
    if "vae" in parts:
        vae = _model(path, "vae", AutoencoderKL)
        if vae.config.latent_channels != unet["in_channels"]:
            raise UsageError(
                f"task.model={path}: its VAE gives {vae.config.latent_channels} channels, its UNet takes"
                f" {unet['in_channels']}"
            )
        latents = VaeLatents(vae)
        if latents.factor > 8:
            raise UsageError(
                f"task.model={path}: its VAE's latents are {latents.factor} times smaller than pictures; the"
                " encoder of control pictures goes to 8"
            )
    else:
        latents = UnshuffledPixels(unet["in_channels"])
        if 3 * latents.factor**2 != unet["in_channels"]:
            raise UsageError(
                f"task.model={path}: model_index.json has no vae, and the {unet['in_channels']} channels of"
                " its UNet are no squares of pixels"
            )
    return Pipeline(path, tokenizer, scheduler, latents, size=unet["sample_size"] * latents.factor)


def _check_unet(path: str, unet: dict[str, Any]) -> None:
    """Raises UsageError if it asks for something that the task does not give, or does not say its size."""
    where = f"task.model={path}: unet/config.json"
    for entry in CONDITIONS:
        if unet.get(entry) is not None:
            raise UsageError(
                f"{where} has {entry}={unet[entry]}: it asks for more than a caption, which the task does not"
                " give; Stable Diffusion 1 and 2 ask for no more"
            )
    if unet["in_channels"] != unet.get("out_channels", unet["in_channels"]):
        raise UsageError(
            f"{where} takes {unet['in_channels']} channels and gives {unet['out_channels']}; the task needs"
            " as many"
        )
    if not isinstance(unet.get("sample_size"), int):
        raise UsageError(
            f"{where} has sample_size={unet.get('sample_size')}; the task needs one side of its latents"
        )


def _check_text(path: str, unet: dict[str, Any], tokenizer: PreTrainedTokenizerBase) -> None:
    """Raises UsageError if tokenizer, text encoder and UNet do not fit each other."""
    text = _text_config(path)
    where, longest = f"task.model={path}: its tokenizer", tokenizer.model_max_length
    if len(tokenizer) > text.vocab_size:
        raise UsageError(f"{where} has {len(tokenizer)} tokens, its text encoder knows {text.vocab_size}")
    if longest > text.max_position_embeddings:
        raise UsageError(
            f"{where} has model_max_length={longest:.4g}, its text encoder takes"
            f" {text.max_position_embeddings}"
        )
    if tokenizer.pad_token_id is None:
        raise UsageError(f"{where} has no token for padding")
    wanted = unet.get("cross_attention_dim")
    if text.hidden_size != wanted:
        raise UsageError(
            f"task.model={path}: its text encoder is {text.hidden_size} wide, its UNet takes {wanted}"
        )


def _text_config(path: str) -> CLIPTextConfig:
    def load() -> CLIPTextConfig:
        content, _ = CLIPTextConfig.get_config_dict(path, subfolder="text_encoder")
        if not content:  # transformers would take its defaults
            raise OSError("no config.json")
        return CLIPTextConfig.from_dict(content)

    config = _loaded(path, "text_encoder", load)
    assert isinstance(config, CLIPTextConfig)
    return config


def _index(path: str) -> dict[str, Any]:
    """The parts that the pipeline's model_index.json lists."""
    folder = local_path("task.model", path)
    if folder is not None and not (folder / "model_index.json").is_file():
        raise UsageError(
            f"task.model={path}: no model_index.json; give a pipeline's folder, as diffusers saves it"
        )
    return _loaded(path, "model_index.json", DiffusionPipeline.load_config, path)


def _scheduler(path: str) -> DDIMScheduler:
    """DDIM with the pipeline's own noise schedule, whichever sampler it was saved with."""
    config = _loaded(path, "scheduler", DDIMScheduler.load_config, path, subfolder="scheduler")
    where = f"task.model={path}: scheduler/scheduler_config.json"
    known = {kind.name for kind in KarrasDiffusionSchedulers}
    if config.get("_class_name") not in known:
        raise UsageError(f"{where} is a {config.get('_class_name')}, whose noise DDIM cannot take away")
    kind = config.get("prediction_type", "epsilon")
    if kind not in PREDICTIONS:
        raise UsageError(f"{where} has prediction_type={kind}; known: {', '.join(PREDICTIONS)}")
    known_options = set(DDIMScheduler().config)  # Stable Diffusion's own has some of another sampler's
    return DDIMScheduler.from_config({name: value for name, value in config.items() if name in known_options})


def _model(path: str, part: str, kind: Any) -> Any:
    """In float32, frozen.

    Raises:
        UsageError: if it cannot be loaded, or not as a whole.
    """
    logging.disable_progress_bar()
    how = {"subfolder": part, "use_safetensors": True, "output_loading_info": True}
    with _quiet():  # what they would warn of is checked below
        model, info = _loaded(path, part, kind.from_pretrained, path, **how)
    if missing := sorted(info["missing_keys"]):
        raise UsageError(
            f"task.model={path}: {len(missing)} weights of its {part} are missing, such as {missing[0]}"
        )
    return model.float().eval().requires_grad_(False)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Inside, diffusers and transformers say nothing but errors."""
    before = [each.get_verbosity() for each in (logging, diffusers_logging)]
    try:
        for each in (logging, diffusers_logging):
            each.set_verbosity_error()
        yield
    finally:
        for each, verbosity in zip((logging, diffusers_logging), before, strict=True):
            each.set_verbosity(verbosity)


def _loaded(path: str, part: str, load: Any, *args: Any, **kwargs: Any) -> Any:
    """What `load` gives; what goes wrong in it, in one line."""
    try:
        return load(*args, **kwargs)
    except Exception as error:
        if is_local(path):
            where = Path(path) / part
            raise UsageError(f"task.model={path}: {where} cannot be loaded: {first_line(error)}") from None
        raise hub_error("task.model", path, error) from None
