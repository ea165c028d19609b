"""The paper's models, written out at full size, as modules on the meta device: shapes, no weights."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from transformers import (
    DebertaV2Config,
    DebertaV2ForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PhiConfig,
    PhiForCausalLM,
)

LLAMA_LAYERS, PHI_LAYERS = 32, 24


def llama_2_7b(layers: int = LLAMA_LAYERS) -> nn.Module:
    """meta-llama/Llama-2-7b: 32 layers of width 4096, or the first few of them."""
    config = LlamaConfig(
        hidden_size=4096,
        intermediate_size=11008,
        num_hidden_layers=layers,
        num_attention_heads=32,
        vocab_size=32000,
        max_position_embeddings=4096,
    )
    with torch.device("meta"):
        return LlamaForCausalLM(config).requires_grad_(False)


def phi_1_5(layers: int = PHI_LAYERS) -> nn.Module:
    """microsoft/phi-1_5: 24 layers of width 2048, or the first few of them."""
    config = PhiConfig(  # type: ignore[call-arg]
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=layers,
        num_attention_heads=32,
        vocab_size=51200,
        partial_rotary_factor=0.5,
        max_position_embeddings=2048,
    )
    with torch.device("meta"):
        return PhiForCausalLM(config).requires_grad_(False)


def deberta_v3_base() -> nn.Module:
    """microsoft/deberta-v3-base: 12 layers of width 768."""
    config = DebertaV2Config(  # type: ignore[call-arg]
        hidden_size=768,
        intermediate_size=3072,
        num_hidden_layers=12,
        num_attention_heads=12,
        vocab_size=128100,
        relative_attention=True,
        position_buckets=256,
        max_relative_positions=-1,
        pos_att_type=["p2c", "c2p"],
        share_att_key=True,
        norm_rel_ebd="layer_norm",
        type_vocab_size=0,
    )
    with torch.device("meta"):
        return DebertaV2ForSequenceClassification(config).requires_grad_(False)


SD_WIDTHS = {320: 5, 640: 5, 1280: 6}
"""Transformer blocks of SD-1.5's UNet by width: two down and three up at each, one in the middle."""

SD_CONTEXT = 768


def sd_1_5_attention() -> nn.Module:
    """The transformer blocks of Stable Diffusion 1.5's UNet, linear layers alone.

    Each has self-attention (q, k, v, out), cross-attention to the text (q, k, v, out) and a feed-forward
    of a gated projection to 8 d and one from 4 d; from the published UNet configuration.
    """

    def block(d: int) -> nn.ModuleDict:
        shapes = {"to_q": (d, d), "to_k": (d, d), "to_v": (d, d), "to_out": (d, d)}
        cross = shapes | {"to_k": (SD_CONTEXT, d), "to_v": (SD_CONTEXT, d)}
        return nn.ModuleDict(
            {
                "attn1": nn.ModuleDict({k: nn.Linear(*s, bias=k == "to_out") for k, s in shapes.items()}),
                "attn2": nn.ModuleDict({k: nn.Linear(*s, bias=k == "to_out") for k, s in cross.items()}),
                "ff": nn.ModuleDict({"proj": nn.Linear(d, 8 * d), "out": nn.Linear(4 * d, d)}),
            }
        )

    with torch.device("meta"):
        blocks = [block(d) for d, count in SD_WIDTHS.items() for _ in range(count)]
        return nn.ModuleList(blocks).requires_grad_(False)


CONTROL_CHANNELS = (3, 16, 16, 32, 32, 96, 96, 256, 320)
"""Of ControlNet's encoder of control pictures, in front of a UNet that is 320 wide: eight convolutions."""

TIME_EMBEDDING = (320, 1280, 1280)
"""Of the MLP that the published encoder carries along and never uses."""


def control_encoder() -> nn.Module:
    """The encoder of control pictures of S2I: convolutions of 3 x 3."""
    with torch.device("meta"):
        pairs = pairwise(CONTROL_CHANNELS)
        return nn.Sequential(*(nn.Conv2d(*pair, kernel_size=3, padding=1) for pair in pairs))


def unused_time_embedding() -> nn.Module:
    """What makes the papers' 3.1M of the encoder's 1.1M."""
    with torch.device("meta"):
        pairs = pairwise(TIME_EMBEDDING)
        return nn.Sequential(*(nn.Linear(*pair) for pair in pairs))
