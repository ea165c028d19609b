"""A UNet with the text encoder that reads its captions."""

from __future__ import annotations

import functools
from typing import Any

import torch
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


def _is_mapped(tensor: Tensor) -> bool:
    """Whether `torch.func.vmap` maps it: then no result's shape may depend on what is in it."""
    return torch._C._functorch.is_batchedtensor(tensor)
