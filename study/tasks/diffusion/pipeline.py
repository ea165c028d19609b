"""A diffusers pipeline's parts, by hub name or folder: what a task trains, samples and decodes with."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from diffusers.schedulers.scheduling_utils import KarrasDiffusionSchedulers
from transformers import AutoTokenizer, CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerBase
from transformers.utils import logging

from study.errors import UsageError, first_line
from study.tasks.diffusion.latents import Latents, UnshuffledPixels, VaeLatents
from study.tasks.loading.pretrained import builds_skeletons
from study.tasks.loading.sources import hub_error, is_local, local_path

PREDICTIONS = ("epsilon", "v_prediction")
"""What a UNet may have been trained to predict; the scheduler's config says it."""

NEEDED = ("unet", "text_encoder", "tokenizer", "scheduler")


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
            config = _loaded(
                self.path, "text_encoder", CLIPTextConfig.from_pretrained, self.path, subfolder="text_encoder"
            )
            with torch.device("meta"):
                return CLIPTextModel(config).requires_grad_(False)
        return _model(self.path, "text_encoder", CLIPTextModel)

    def token_ids(self, captions: list[str]) -> torch.Tensor:
        """Captions as the text encoder takes them: (rows, tokens), all of one length."""
        ids = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        assert isinstance(ids, torch.Tensor)
        return ids


def load_pipeline(path: str) -> Pipeline:
    """The pipeline at `path`.

    Raises:
        UsageError: if there is none, a part of it is missing or cannot be read, or its UNet predicts
            something else than PREDICTIONS.
    """
    parts = _index(path)
    missing = [part for part in NEEDED if not (parts.get(part) or [None])[0]]
    if missing:
        raise UsageError(f"task.model={path}: model_index.json has no {missing[0]}, which the task needs")
    unet = _loaded(path, "unet", UNet2DConditionModel.load_config, path, subfolder="unet")
    latents: Latents
    if (parts.get("vae") or [None])[0]:
        latents = VaeLatents(_model(path, "vae", AutoencoderKL))
    else:
        latents = UnshuffledPixels(unet["in_channels"])
    return Pipeline(
        path=path,
        tokenizer=_loaded(path, "tokenizer", AutoTokenizer.from_pretrained, path, subfolder="tokenizer"),
        scheduler=_scheduler(path),
        latents=latents,
        size=int(unet["sample_size"]) * latents.factor,
    )


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
    logging.disable_progress_bar()
    model = _loaded(path, part, kind.from_pretrained, path, subfolder=part, use_safetensors=True)
    return model.float().eval().requires_grad_(False)


def _loaded(path: str, part: str, load: Any, *args: Any, **kwargs: Any) -> Any:
    """What `load` gives; what goes wrong in it, in one line."""
    try:
        return load(*args, **kwargs)
    except Exception as error:
        if is_local(path):
            where = Path(path) / part
            raise UsageError(f"task.model={path}: {where} cannot be loaded: {first_line(error)}") from None
        raise hub_error("task.model", path, error) from None
