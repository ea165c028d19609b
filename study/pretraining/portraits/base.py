"""The base model of the portraits: a small latent-diffusion model that draws them from captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
from transformers import CLIPTextConfig, CLIPTextModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from study.pretraining import script
from study.tasks.miniature.portraits import LOOKS, caption, portraits
from study.tasks.miniature.portraits.captions import PERSON, PHOTO, words
from study.tasks.miniature.portraits.pipeline import FOLDED, PortraitPipeline

BATCH, STEPS, PEAK = 32, 10_000, 1.5e-3
WARMUP, DECAY = 200, 0.2
"""Steps in which the rate rises, and the last share of all in which it falls to zero."""

DRAWN = 60_000
"""Pictures that are drawn once and shuffled through."""

UNCAPTIONED, PARTIAL, MENTIONED = 0.1, 0.25, 0.5
"""Shares: of pictures with an empty caption, of captions that say only some looks, of the looks these say."""

RARE = ("qwe", "sks", "zwx", "olis")
"""Words of the tokenizer that the model never saw: names for new subjects."""

WIDTH, TOKENS = 64, 40
"""Of the text model's states, and how many a caption is padded to."""


def new_tokenizer() -> PreTrainedTokenizerBase:
    """One token per word or mark, of all that captions can say."""
    special = ["<pad>", "<start>", "<end>", "<unknown>"]
    vocabulary = {word: i for i, word in enumerate([*special, *words(), *RARE])}
    plain = Tokenizer(models.WordLevel(vocabulary, unk_token="<unknown>"))
    plain.normalizer = normalizers.Lowercase()
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    plain.post_processor = processors.TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 1), ("<end>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, model_max_length=TOKENS, padding_side="right",
        pad_token="<pad>", bos_token="<start>", eos_token="<end>", unk_token="<unknown>",
    )  # fmt: skip


def new_pipeline() -> PortraitPipeline:
    """The untrained model: a UNet of 1.1M weights on 12 x 8 x 8, and a text model of two layers."""
    tokenizer = new_tokenizer()
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, projection_dim=WIDTH,
            num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=TOKENS,
            pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    )  # fmt: skip
    unet = UNet2DConditionModel(
        sample_size=8, in_channels=3 * FOLDED**2, out_channels=3 * FOLDED**2, block_out_channels=(32, 64),
        layers_per_block=1, down_block_types=("CrossAttnDownBlock2D",) * 2,
        up_block_types=("CrossAttnUpBlock2D",) * 2, cross_attention_dim=WIDTH, attention_head_dim=(2, 4),
        norm_num_groups=8,
    )  # fmt: skip
    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction", rescale_betas_zero_snr=True,
        timestep_spacing="trailing", clip_sample=True, set_alpha_to_one=True,
    )  # fmt: skip
    return PortraitPipeline(unet, text_encoder, tokenizer, scheduler)


def pretraining_captions(looks: Tensor, generator: np.random.Generator) -> list[str]:
    """A caption for each row of looks: none, a whole one, or one that says only some of them."""
    captions = []
    for seen in looks.tolist():
        kind = generator.random()
        mentioned = list(LOOKS)
        if kind < UNCAPTIONED + PARTIAL:
            mentioned = [look for look in LOOKS if generator.random() < MENTIONED]
        person = PERSON if generator.random() < 0.5 else f"{PHOTO} {PERSON}"
        captions.append("" if kind < UNCAPTIONED else caption(seen, mentioned, person))
    return captions


def loss(pipeline: PortraitPipeline, pictures: Tensor, captions: list[str]) -> Tensor:
    """Mean squared error of the predicted velocity at times drawn at random, a scalar."""
    clean = F.pixel_unshuffle(pictures, FOLDED)
    spread = (torch.randperm(len(clean)) + torch.rand(len(clean))) / len(clean)  # evenly over [0, 1]
    last = pipeline.scheduler.config.num_train_timesteps - 1
    times = (spread * (last + 1)).long().clamp(max=last)  # for the sum above may round up to 1
    noise = torch.randn_like(clean)
    noisy = pipeline.scheduler.add_noise(clean, noise, times)
    target = pipeline.scheduler.get_velocity(clean, noise, times)
    predicted = pipeline.unet(noisy, times, encoder_hidden_states=pipeline.encode(captions)).sample
    return F.mse_loss(predicted, target)


def pretrain(folder: Path, steps: int = STEPS, seed: int = 0) -> None:
    """Trains UNet and text model together; what is saved are moving averages of their weights, in float16."""
    torch.manual_seed(seed)
    generator = np.random.default_rng(seed)
    pipeline = new_pipeline()
    trained = nn.ModuleList([pipeline.unet, pipeline.text_encoder]).train()
    average = EMAModel(trained.parameters(), decay=0.999, use_ema_warmup=True, power=0.75)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=PEAK, weight_decay=1e-3)
    schedule = LambdaLR(optimizer, lambda step: min(1, (step + 1) / WARMUP, (steps - step) / (DECAY * steps)))
    drawn = portraits(seed, min(DRAWN, steps * BATCH))
    for step in range(steps):
        rows = torch.from_numpy(generator.integers(len(drawn), size=BATCH))
        captions = pretraining_captions(drawn.looks[rows], generator)
        value = loss(pipeline, drawn.pictures[rows], captions)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        average.step(trained.parameters())
        script.report(step, steps, f"{value.item():.4f}", every=100)
    average.copy_to(trained.parameters())
    trained.half()
    pipeline.save_pretrained(folder)
