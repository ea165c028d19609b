"""Noise put on latents, and taken away again: by diffusers' DDIM or DPM-Solver++."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from study.tasks.diffusion.captioned_unet import CaptionedUNet

Sampler: TypeAlias = Any
"""One of diffusers' schedulers, such as DDIMScheduler or DPMSolverMultistepScheduler."""


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


def noise_of(number: int, shape: Sequence[int]) -> Tensor:
    """The noise that a number stands for."""
    return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(number))


def drawn_noise(scheduler: DDIMScheduler, latents: Tensor, seed: int, step: int) -> Noised:
    """Latents with noise and times that a run's seed and the step draw."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + step)
    noise = torch.randn(latents.shape, generator=generator)
    times = torch.randint(scheduler.config.num_train_timesteps, (len(noise),), generator=generator)
    return noised(scheduler, latents, noise, times)


def even_times(scheduler: DDIMScheduler, indices: Tensor) -> Tensor:
    """A time for each example of a split, (rows,); those of any first n are spread evenly."""
    share = (indices.double() * _GOLDEN) % 1
    return (share * scheduler.config.num_train_timesteps).long()


_GOLDEN = (5**0.5 - 1) / 2
"""Multiples of it fill the unit interval evenly, however many there are."""


def dpm_solver(scheduler: DDIMScheduler) -> DPMSolverMultistepScheduler:
    """DPM-Solver++, deterministic and of second order, with the noise schedule of a pipeline."""
    known = set(DPMSolverMultistepScheduler().config)
    options = {name: value for name, value in scheduler.config.items() if name in known}
    return DPMSolverMultistepScheduler.from_config(options)


def sample(
    model: CaptionedUNet,
    sampler: Sampler,
    noise: Tensor,
    prompt: tuple[Tensor, Tensor],
    steps: int,
    guidance: float,
    *beside: Tensor,
) -> Tensor:
    """Latents sampled from `noise`, with guidance and nothing drawn: (rows, channels, height, width).

    Each row goes through the model twice, with its caption and without, and stays beside itself: runs lead
    the rows.

    Args:
        prompt: token ids of the captions and of the empty caption, (rows, tokens) each.
        beside: what the model is told beside its caption, with it and without alike, (rows, ...).
    """
    sampler = copy.deepcopy(sampler)
    sampler.set_timesteps(steps)
    guided = guidance != 1.0
    if guided:
        states = model.encode_text(torch.stack(prompt, 1).flatten(0, 1))
        beside = tuple(each.repeat_interleave(2, 0) for each in beside)
    else:
        states = model.encode_text(prompt[0])
    latents = noise * sampler.init_noise_sigma
    for time in sampler.timesteps:
        rows = latents.repeat_interleave(2, 0) if guided else latents
        rows = sampler.scale_model_input(rows, time)
        predicted = model(rows, time.to(rows.device).expand(len(rows)), states, *beside)
        if guided:
            told, free = predicted.unflatten(0, (-1, 2)).unbind(1)
            predicted = free + guidance * (told - free)
        latents = sampler.step(predicted, time, latents).prev_sample
    return latents
