"""The base model as a diffusers pipeline: captions to pictures."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, PreTrainedTokenizerBase

STEPS, GUIDANCE = 10, 1.5
FOLDED = 2
"""Pixels of a side that are unshuffled into channels, in the place of Stable Diffusion's VAE."""


class PortraitPipeline(DiffusionPipeline):
    """Stable Diffusion in small, with pixels unshuffled into channels where that has a VAE.

    `PortraitPipeline.from_pretrained(shipped_checkpoint("portraits"))` loads what ships.
    """

    unet: UNet2DConditionModel
    text_encoder: CLIPTextModel
    tokenizer: PreTrainedTokenizerBase
    scheduler: DDIMScheduler

    def __init__(
        self,
        unet: UNet2DConditionModel,
        text_encoder: CLIPTextModel,
        tokenizer: PreTrainedTokenizerBase,
        scheduler: DDIMScheduler,
    ) -> None:
        super().__init__()
        self.register_modules(unet=unet, text_encoder=text_encoder, tokenizer=tokenizer, scheduler=scheduler)

    def encode(self, captions: list[str]) -> Tensor:
        """The text model's states of captions, (rows, tokens, width)."""
        ids = self.tokenizer(captions, padding="max_length", truncation=True, return_tensors="pt").input_ids
        return self.text_encoder(ids.to(self.text_encoder.device)).last_hidden_state

    @torch.no_grad()
    def __call__(
        self,
        captions: list[str],
        noise: Tensor,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        **options: Any,
    ) -> Tensor:
        """Pictures, (rows, 3, 16, 16) in [-1, 1].

        Args:
            noise: where sampling starts, (rows, 12, 8, 8).
            options: further arguments of the scheduler's `step`.
        """
        states = torch.cat([self.encode([""] * len(captions)), self.encode(captions)])
        self.scheduler.set_timesteps(steps, device=noise.device)
        sample = noise * self.scheduler.init_noise_sigma
        for time in self.scheduler.timesteps:
            folded = self.scheduler.scale_model_input(torch.cat([sample, sample]), time)
            free, told = self.unet(folded, time, encoder_hidden_states=states).sample.chunk(2)
            sample = self.scheduler.step(free + guidance * (told - free), time, sample, **options).prev_sample
        return F.pixel_shuffle(sample, FOLDED).clamp(-1, 1)
