"""Small models of many families, with dropout of .1 wherever they have one, and a task for each.

Texts have different lengths, so that a batch is padded as its longest text needs, perhaps another run's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PretrainedConfig, T5EncoderModel

from study.settings import TaskSettings
from study.tasks import Batch, Task

DROPOUT = 0.1
WIDTH, WORDS, FRAMES = 32, 50, 32


@dataclass(frozen=True)
class Family:
    """A kind of model: its configuration, the layers to adapt, and what it reads."""

    options: dict[str, Any]
    targets: list[str]
    reads: str = "words"


_BERT = {
    "hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": WORDS,
    "intermediate_size": 48,
}  # fmt: skip
FAMILIES = {
    "deberta-v2": Family(
        _BERT
        | {
            "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "share_att_key": True,
            "norm_rel_ebd": "layer_norm", "position_biased_input": False,
        },
        ["query_proj", "value_proj"],
    ),
    "bert": Family(_BERT, ["query", "value", "dense"]),
    "gpt2": Family(
        {"n_embd": WIDTH, "n_layer": 2, "n_head": 2, "vocab_size": WORDS, "n_positions": 32},
        ["c_attn", "c_fc"],
    ),
    "t5": Family(
        {
            "d_model": WIDTH, "d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2, "vocab_size": WORDS,
            "feed_forward_proj": "gated-gelu",
        },
        ["q", "v", "wi_0", "wo"],
    ),
    "vit": Family(
        _BERT | {"image_size": 16, "patch_size": 8, "num_channels": 3},
        ["q_proj", "v_proj", "fc1"],
        "pictures",
    ),
    "llama": Family(_BERT, ["q_proj", "v_proj", "down_proj"]),
    "whisper": Family(
        {
            "d_model": WIDTH, "encoder_layers": 2, "encoder_attention_heads": 2, "encoder_ffn_dim": 48,
            "num_mel_bins": 8, "max_source_positions": FRAMES // 2, "vocab_size": WORDS,
            "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 48,
            "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1,
        },
        ["q_proj", "v_proj", "fc1"],
        "sound",
    ),
    "convolutions": Family({}, ["mix", "last"], "pictures"),
}  # fmt: skip


def with_dropout(config: PretrainedConfig) -> PretrainedConfig:
    """The configuration with every dropout that it knows at DROPOUT, but for those that drop whole layers."""
    for name in vars(config):
        rate = "drop" in name and "layerdrop" not in name and isinstance(getattr(config, name), int | float)
        if rate or name.endswith("_pdrop"):
            setattr(config, name, DROPOUT)
    return config


class Convolutions(nn.Module):
    """A small convolutional network with BatchNorm, whose stored statistics are not those of its data."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.mix = nn.Linear(8 * 16, WIDTH)
        self.norm_of_mix = nn.BatchNorm1d(WIDTH)
        self.drop = nn.Dropout(DROPOUT)
        self.last = nn.Linear(WIDTH, WIDTH)
        self.norm.running_mean.uniform_(-0.3, 0.3)
        self.norm.running_var.uniform_(0.5, 2)

    def forward(self, pictures: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.norm(self.conv(pictures))), 4)
        return self.last(self.drop(F.relu(self.norm_of_mix(self.mix(x.flatten(1))))))


class FamilyTask(Task):
    """Which of three kinds an input is, read off the mean of what the model makes of it."""

    metric, chance = "accuracy", 1 / 3

    def __init__(self, family: str, **settings: Any) -> None:
        self.family = FAMILIES[family]
        super().__init__(
            TaskSettings(
                **{
                    "name": "families", "model": family, "data": "random",
                    "target_modules": self.family.targets, "steps": 4, "batch_size": 4,
                    "eval_batch_size": 8, "evaluations": 2, "warmup_steps": 1, **settings,
                }
            )
        )  # fmt: skip
        generator = torch.Generator().manual_seed(0)
        self.words = torch.randint(3, WORDS, (40, 9), generator=generator)
        self.lengths = torch.randint(3, 10, (40,), generator=generator)
        self.pictures = torch.randn(40, 3, 16, 16, generator=generator)
        self.sound = torch.randn(40, 8, FRAMES, generator=generator)
        self.labels = torch.randint(0, 3, (40,), generator=generator)
        self.readout = torch.randn(WIDTH, 3, generator=generator)

    def model(self) -> nn.Module:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            if self.settings.model == "convolutions":
                return Convolutions().requires_grad_(False)
            config = with_dropout(AutoConfig.for_model(self.settings.model, **self.family.options))
            if self.settings.model == "t5":
                model: Any = T5EncoderModel(config)
            else:
                model = AutoModel.from_config(config)
            if self.settings.model == "whisper":
                model = model.encoder
        return model.requires_grad_(False)

    def size(self, split: str) -> int:
        return {"train": 24, "valid": 8, "test": 8}[split]

    def examples(self, split: str, indices: Tensor) -> Batch:
        rows = indices + {"train": 0, "valid": 24, "test": 32}[split]
        batch = {"labels": self.labels[rows]}
        if self.family.reads == "pictures":
            return {"inputs": self.pictures[rows]} | batch
        if self.family.reads == "sound":
            return {"inputs": self.sound[rows]} | batch
        longest = int(self.lengths[rows].max())
        mask = (torch.arange(longest) < self.lengths[rows, None]).long()
        return {"inputs": self.words[rows, :longest] * mask, "mask": mask} | batch

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        if self.settings.model == "convolutions":
            return model(batch["inputs"]) @ self.readout
        if self.family.reads == "pictures":
            return model(pixel_values=batch["inputs"]).last_hidden_state.mean(1) @ self.readout
        if self.family.reads == "sound":
            return model(input_features=batch["inputs"]).last_hidden_state.mean(1) @ self.readout
        mask = batch["mask"]
        hidden = model(input_ids=batch["inputs"], attention_mask=mask).last_hidden_state
        mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return mean @ self.readout

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs, batch["labels"], reduction="none")

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        finite = torch.isfinite(outputs).all(-1)
        return outputs.argmax(-1).float().masked_fill(~finite, torch.nan)

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        return {"accuracy": (predictions == references["labels"]).double().mean().item()}
