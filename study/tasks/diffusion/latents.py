"""What a UNet works on in the place of pictures: a VAE's latents, or pixels unshuffled into channels."""

from __future__ import annotations

import math
from typing import Protocol

import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor

from study.tasks.diffusion.placed import Placed


class Latents(Protocol):
    """Pictures, (rows, 3, height, width) in [-1, 1], to and from latents.

    Attributes:
        factor: how many pixels of a side become one of a latent.
    """

    factor: int

    def encode(self, pictures: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...


class UnshuffledPixels:
    """Squares of pixels as channels: loses nothing."""

    def __init__(self, channels: int) -> None:
        self.factor = math.isqrt(channels // 3)

    def encode(self, pictures: Tensor) -> Tensor:
        return F.pixel_unshuffle(pictures, self.factor)

    def decode(self, latents: Tensor) -> Tensor:
        return F.pixel_shuffle(latents, self.factor).clamp(-1, 1)


class VaeLatents:
    """Means of a VAE's latents, scaled as its config says."""

    def __init__(self, vae: AutoencoderKL) -> None:
        self._vae = Placed(vae)
        self._scale = vae.config.scaling_factor
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)

    def encode(self, pictures: Tensor) -> Tensor:
        vae: AutoencoderKL = self._vae.on(pictures.device)
        return vae.encode(pictures).latent_dist.mode() * self._scale

    def decode(self, latents: Tensor) -> Tensor:
        vae: AutoencoderKL = self._vae.on(latents.device)
        return vae.decode(latents / self._scale).sample.clamp(-1, 1)
