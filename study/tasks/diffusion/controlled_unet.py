"""A UNet that is told a picture's layout: an encoded control picture is added after its first input block."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.controlnets.controlnet import ControlNetConditioningEmbedding
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import CLIPTextModel


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


class ControlledUNet(nn.Module):
    """A UNet with its text encoder and, to be trained per run, the encoder of control pictures.

    The encoder's last convolution is zero at the start, so that the untouched model does not know its
    control picture.

    """

    def __init__(
        self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel, encoder: EncoderShape
    ) -> None:
        super().__init__()
        device = unet.conv_in.weight.device
        with torch.device(device):
            self.control_encoder = ControlNetConditioningEmbedding(
                unet.conv_in.out_channels, encoder.channels, encoder.widths
            ).requires_grad_(False)
        unet.conv_in = AddedSignal(unet.conv_in)
        self.unet = unet
        self.text_encoder = text_encoder
        self.is_activation_checkpointing = False

    def forward(self, noisy: Tensor, times: Tensor, states: Tensor, signal: Tensor) -> Tensor:
        """What the UNet predicts of noisy latents, (rows, channels, height, width), in float32.

        Args:
            times: (rows,).
            states: of the captions, (rows, tokens, width).
            signal: the encoded control pictures, (rows, width of the first block, height, width).
        """
        if noisy.is_meta:  # knows no autocast, which does this elsewhere
            dtype = next(self.unet.time_embedding.parameters()).dtype
            noisy, states = noisy.to(dtype), states.to(dtype)
        both = torch.cat([noisy, signal.to(noisy.dtype)], 1)
        return self.unet(both, times, encoder_hidden_states=states).sample.float()

    def encode_text(self, token_ids: Tensor) -> Tensor:
        """(rows, tokens) -> (rows, tokens, width). A caption is encoded once, however many rows have it."""
        if self._tells_rows_apart() or token_ids.is_meta or _is_mapped(token_ids):
            return self.text_encoder(token_ids).last_hidden_state
        captions, place = token_ids.unique(dim=0, return_inverse=True)
        return self.text_encoder(captions).last_hidden_state[place]

    def _tells_rows_apart(self) -> bool:
        """Whether rows with the same caption may be encoded differently: by adapters, or by dropout."""
        adapted = any(parameter.requires_grad for parameter in self.text_encoder.parameters())
        return adapted or (self.training and bool(self.text_encoder.config.attention_dropout))

    def activation_checkpointing_enable(self, options: dict[str, Any]) -> None:
        """As transformers' models have it."""
        self.unet.enable_gradient_checkpointing(functools.partial(checkpoint, **options))
        self.is_activation_checkpointing = True

    def disable_input_require_grads(self) -> None:
        """As transformers' models have it: nothing here asks for such gradients."""


class AddedSignal(nn.Module):
    """A UNet's first convolution, to whose output a signal is added that comes as channels behind its own."""

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.convolution = convolution

    def forward(self, both: Tensor) -> Tensor:
        own = self.convolution.in_channels
        return self.convolution(both[:, :own]) + both[:, own:]


def _is_mapped(tensor: Tensor) -> bool:
    """Whether `torch.func.vmap` maps it: then no result's shape may depend on what is in it."""
    return torch._C._functorch.is_batchedtensor(tensor)
