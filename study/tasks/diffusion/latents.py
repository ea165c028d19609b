"""What a UNet works on in the place of pictures: a VAE's latents, or pixels unshuffled into channels."""

from __future__ import annotations

import hashlib
import math
from typing import Protocol

import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL
from torch import Tensor, nn

from study.tasks.diffusion.placed import Placed


class Latents(Protocol):
    """Pictures, (rows, 3, height, width) in [-1, 1], to and from latents.

    Attributes:
        channels: of a latent.
        factor: how many pixels of a side become one of a latent.
    """

    channels: int
    factor: int

    def encode(self, pictures: Tensor) -> Tensor: ...

    def decode(self, latents: Tensor) -> Tensor: ...

    def models(self, device: torch.device) -> list[nn.Module]:
        """What does it, on this device."""
        ...


class UnshuffledPixels:
    """Squares of pixels as channels: loses nothing."""

    def __init__(self, channels: int) -> None:
        self.channels, self.factor = channels, math.isqrt(channels // 3)

    def encode(self, pictures: Tensor) -> Tensor:
        return F.pixel_unshuffle(pictures, self.factor)

    def decode(self, latents: Tensor) -> Tensor:
        return F.pixel_shuffle(latents, self.factor).clamp(-1, 1)

    def models(self, device: torch.device) -> list[nn.Module]:
        return []


class VaeLatents:
    """Means of a VAE's latents, scaled as its config says."""

    def __init__(self, vae: AutoencoderKL) -> None:
        self._vae = Placed(vae)
        self._scale = vae.config.scaling_factor
        self.factor = 2 ** (len(vae.config.block_out_channels) - 1)
        self.channels = int(vae.config.latent_channels)

    def encode(self, pictures: Tensor) -> Tensor:
        vae: AutoencoderKL = self._vae.on(pictures.device)
        return vae.encode(pictures).latent_dist.mode() * self._scale

    def decode(self, latents: Tensor) -> Tensor:
        vae: AutoencoderKL = self._vae.on(latents.device)
        return vae.decode(latents / self._scale).sample.clamp(-1, 1)

    def models(self, device: torch.device) -> list[nn.Module]:
        return [self._vae.on(device)]

    def digest(self) -> str:
        """Of its weights and of how latents are scaled."""
        hashed = hashlib.sha256(str(self._scale).encode())
        for name, weight in self._vae.on(torch.device("cpu")).state_dict().items():
            hashed.update(name.encode())
            hashed.update(weight.contiguous().numpy())
        return hashed.hexdigest()
