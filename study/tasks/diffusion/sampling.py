"""Noise put on latents, and taken away again: by diffusers' DDIM."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from study.tasks.diffusion.controlled_unet import ControlledUNet


@dataclass(frozen=True)
class Noised:
    """Latents with noise: (rows, channels, height, width) each, and the times, (rows,).

    Attributes:
        target: what the UNet should predict of `noisy`.
    """

    noise: Tensor
    times: Tensor
    noisy: Tensor
    target: Tensor


def noised(scheduler: DDIMScheduler, latents: Tensor, noise: Tensor, times: Tensor) -> Noised:
    """Latents with this noise at these times."""
    noisy = scheduler.add_noise(latents, noise, times)
    velocity = scheduler.config.prediction_type == "v_prediction"
    target = scheduler.get_velocity(latents, noise, times) if velocity else noise
    return Noised(noise, times, noisy, target)


def sample(
    model: ControlledUNet,
    scheduler: DDIMScheduler,
    noise: Tensor,
    prompt: tuple[Tensor, Tensor],
    control: Tensor,
    steps: int,
    guidance: float,
) -> Tensor:
    """Latents sampled from `noise` by deterministic DDIM, with guidance: (rows, channels, height, width).

    Each row goes through the model twice, with its caption and without, and stays beside itself: runs lead
    the rows. Both know the control picture, as in ControlNet.

    Args:
        prompt: token ids of the captions and of the empty caption, (rows, tokens) each.
        control: control pictures, (rows, channels, height, width) in [0, 1].
    """
    scheduler = copy.deepcopy(scheduler)
    scheduler.set_timesteps(steps)
    guided = guidance != 1.0
    if guided:
        states = model.encode_text(torch.stack(prompt, 1).flatten(0, 1))
        signal = model.control_encoder(control).repeat_interleave(2, 0)
    else:
        states, signal = model.encode_text(prompt[0]), model.control_encoder(control)
    latents = noise * scheduler.init_noise_sigma
    for time in scheduler.timesteps:
        rows = latents.repeat_interleave(2, 0) if guided else latents
        rows = scheduler.scale_model_input(rows, time)
        predicted = model(rows, time.to(rows.device).expand(len(rows)), states, signal)
        if guided:
            told, free = predicted.unflatten(0, (-1, 2)).unbind(1)
            predicted = free + guidance * (told - free)
        latents = scheduler.step(predicted, time, latents).prev_sample
    return latents
