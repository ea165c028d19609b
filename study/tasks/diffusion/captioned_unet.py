"""A UNet with the text encoder that reads its captions."""

from __future__ import annotations

import functools
from typing import Any

from diffusers import UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import CLIPTextModel


class CaptionedUNet(nn.Module):
    """A UNet with its text encoder."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder
        self.is_activation_checkpointing = False

    def forward(self, noisy: Tensor, times: Tensor, states: Tensor, *beside: Tensor) -> Tensor:
        """What the UNet predicts of noisy latents, (rows, channels, height, width), in float32.

        Args:
            times: (rows,).
            states: of the captions, (rows, tokens, width).
            beside: what a model of another kind is told beside its caption, (rows, ...); nothing here.
        """
        if noisy.is_meta:  # knows no autocast, which does this elsewhere
            dtype = next(self.unet.time_embedding.parameters()).dtype
            noisy, states = noisy.to(dtype), states.to(dtype)
        return self.unet(noisy, times, encoder_hidden_states=states).sample.float()

    def encode_text(self, token_ids: Tensor) -> Tensor:
        """(rows, tokens) -> (rows, tokens, width)."""
        return self.text_encoder(token_ids).last_hidden_state

    def activation_checkpointing_enable(self, options: dict[str, Any]) -> None:
        """As transformers' models have it."""
        self.unet.enable_gradient_checkpointing(functools.partial(checkpoint, **options))
        self.is_activation_checkpointing = True

    def disable_input_require_grads(self) -> None:
        """As transformers' models have it: nothing here asks for such gradients."""
