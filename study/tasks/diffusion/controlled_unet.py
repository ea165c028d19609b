"""A UNet that is told a picture's layout: an encoded control picture is added after its first input block."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import Tensor, nn
from transformers import CLIPTextModel

from study.tasks.diffusion.captioned_unet import CaptionedUNet


@dataclass(frozen=True)
class EncoderShape:
    """Of the encoder of control pictures.

    Attributes:
        channels: of a control picture.
        widths: of the encoder's convolutions; each after the first halves the sides.
    """

    channels: int
    widths: tuple[int, ...]

    @property
    def layers(self) -> list[str]:
        """Names of its convolutions in a `ControlledUNet`: what is trained of it.

        Not the encoder itself: most tuners of peft cannot give back a module without a weight of its own.
        """
        blocks = [f"blocks.{i}" for i in range(2 * (len(self.widths) - 1))]
        return [f"control_encoder.{name}" for name in ("conv_in", *blocks, "conv_out")]


def paper_encoder(factor: int) -> EncoderShape:
    """The paper's, ControlNet's, for RGB pictures.

    Args:
        factor: how many pixels of a control picture's side become one of the UNet's; 8 for Stable Diffusion.
    """
    return EncoderShape(3, (16, 32, 96, 256)[: int(math.log2(factor)) + 1])


class ControlledUNet(CaptionedUNet):
    """A UNet with its text encoder and, to be trained per run, the encoder of control pictures.

    The encoder's last convolution is zero at the start, so that the untouched model does not know its
    control picture.
    """

    def __init__(
        self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, encoder: EncoderShape
    ) -> None:
        super().__init__(unet, text_encoder)
        with torch.device(unet.conv_in.weight.device):
            self.control_encoder = ControlNetConditioningEmbedding(
                unet.conv_in.out_channels, encoder.channels, encoder.widths
            ).requires_grad_(False)
        unet.conv_in = AddedSignal(unet.conv_in)

    def forward(self, noisy: Tensor, times: Tensor, states: Tensor, *beside: Tensor) -> Tensor:
        """As of a `CaptionedUNet`.

        Args:
            beside: the encoded control pictures, (rows, width of the first block, height, width).
        """
        (signal,) = beside
        return super().forward(torch.cat([noisy, signal.to(noisy.dtype)], 1), times, states)


class AddedSignal(nn.Module):
    """A UNet's first convolution, to whose output a signal is added that comes as channels behind its own."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, both: Tensor) -> Tensor:
        own = self.convolution.in_channels
        return self.convolution(both[:, :own]) + both[:, own:]
