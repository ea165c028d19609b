"""Pipelines of Stable Diffusion's parts, and a folder like ADE20K's, that take no time."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from PIL import Image
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    SegformerConfig,
    SegformerForSemanticSegmentation,
    SegformerImageProcessor,
)

from study.tasks import shipped_checkpoint

CLASSES = 5


def stable_diffusion(seed: int = 0, size: int = 4) -> StableDiffusionPipeline:
    """Stable Diffusion's parts at random, small: latents of `size` pixels, pictures of eight times that."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(shipped_checkpoint("portraits") / "tokenizer")
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, projection_dim=32,
            num_hidden_layers=1, num_attention_heads=2, max_position_embeddings=tokenizer.model_max_length,
        )
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=size, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"), cross_attention_dim=32, attention_head_dim=2,
        norm_num_groups=8,
    )  # fmt: skip
    blocks = 4
    vae = AutoencoderKL(
        block_out_channels=(8,) * blocks, down_block_types=("DownEncoderBlock2D",) * blocks,
        up_block_types=("UpDecoderBlock2D",) * blocks, norm_num_groups=4, sample_size=8 * size,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", clip_sample=False,
        set_alpha_to_one=False, steps_offset=1,
    )  # fmt: skip
    pipeline = StableDiffusionPipeline(
        vae, text_encoder, tokenizer, unet, scheduler, None, None, requires_safety_checker=False
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def segmenter(folder: Path) -> None:
    """A segmenter of CLASSES classes, which a map counts from 1."""
    torch.manual_seed(1)
    config = SegformerConfig(
        num_labels=CLASSES,
        depths=[1] * 4,
        hidden_sizes=[8] * 4,
        num_attention_heads=[1] * 4,
        decoder_hidden_size=8,
    )
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor(do_reduce_labels=True).save_pretrained(folder)


def map_folder(folder: Path, train: int = 12, valid: int = 6) -> None:
    """Pictures of 40 x 36 pixels with maps of 0 (no class) to CLASSES, and captions."""
    random = np.random.default_rng(0)
    captions = {}
    for split, count in (("training", train), ("validation", valid)):
        for kind in ("images", "annotations"):
            (folder / kind / split).mkdir(parents=True)
        for number in range(count):
            name = f"{split}_{number}"
            coarse = random.integers(0, CLASSES + 1, (9, 10), dtype=np.uint8)
            Image.fromarray(coarse.repeat(4, 0).repeat(4, 1)).save(
                folder / "annotations" / split / f"{name}.png"
            )
            pixels = random.integers(0, 256, (36, 40, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / split / f"{name}.jpg")
            captions[name] = f"a person with a red hat {number}"
    (folder / "captions.json").write_text(json.dumps(captions))
