"""The judges of portraits, trained on composed ones: a segmenter, and networks of looks and identities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn

from study.pretraining import script
from study.tasks.miniature.portraits import HIDDEN, LOOKS, Portraits, portraits
from study.tasks.miniature.portraits.networks import AttributeNetwork, Segmenter, targets

BATCH, PEAK = 32, 2e-3
STEPS = {"segmenter": 5000, "attributes": 6000, "second opinion": 6000}
DRAWN = 40_000
ROUGHNESS = 0.15
"""Largest standard deviation of what is added to pixels: generated pictures are not exact."""


class SecondOpinion(ModelMixin, ConfigMixin):
    """A classifier of looks that no task uses, built and trained apart from the attribute network.

    The base model's samples are judged by it.
    """

    @register_to_config
    def __init__(self, width: int = 512) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * 16 * 16, width), nn.GELU(), nn.Linear(width, width), nn.GELU()
        )
        self.heads = nn.ModuleList([nn.Linear(width, len(values)) for values in LOOKS.values()])

    def forward(self, pictures: Tensor) -> dict[str, Tensor]:
        """Logits of each of LOOKS, (rows, its values)."""
        body = self.body(pictures)
        return {look: head(body) for look, head in zip(LOOKS, self.heads, strict=True)}


def train(network: nn.Module, loss: Callable[[Tensor, Tensor], Tensor], drawn: Portraits, steps: int) -> None:
    """Trains on roughened pictures.

    Args:
        loss: of (pictures, their row numbers), a scalar.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=PEAK, weight_decay=1e-2)
    schedule = script.one_cycle(optimizer, PEAK, steps, warmup=0.1)
    for step in range(steps):
        rows = torch.randint(len(drawn), (BATCH,))
        clean = drawn.pictures[rows]
        rough = clean + ROUGHNESS * torch.rand(BATCH, 1, 1, 1) * torch.randn_like(clean)
        value = loss(rough, rows)
        optimizer.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        script.report(step, steps, f"{value.item():.4f}", every=200)


def classification(logits: dict[str, Tensor], right: dict[str, Tensor], rows: Tensor) -> Tensor:
    """Mean over classes of the cross entropy of those that are seen, a scalar."""
    losses = [F.cross_entropy(of, right[name][rows], ignore_index=HIDDEN) for name, of in logits.items()]
    return torch.stack(losses).mean()


def pretrain_segmenter(folder: Path, steps: int, seed: int) -> None:
    """Leaves the segmenter in the folder, in float16."""
    torch.manual_seed(seed)
    drawn = portraits(seed + 1, min(DRAWN, steps * BATCH), pool="all")
    network = Segmenter()
    train(network, lambda pictures, rows: F.cross_entropy(network(pictures), drawn.maps[rows]), drawn, steps)
    network.half().save_pretrained(folder)


def pretrain_attributes(folder: Path, steps: int, seed: int) -> None:
    """Leaves the attribute and identity network in the folder, in float16."""
    torch.manual_seed(seed)
    drawn = portraits(seed + 2, min(DRAWN, steps * BATCH), pool="all")
    right, network = targets(drawn), AttributeNetwork()
    train(network, lambda pictures, rows: classification(network(pictures).logits, right, rows), drawn, steps)
    network.half().save_pretrained(folder)


def pretrain_second_opinion(folder: Path, steps: int, seed: int) -> None:
    """Leaves a classifier of looks in the folder, in float16: architecture, seed and pictures are its own."""
    torch.manual_seed(seed + 1)
    drawn = portraits(seed + 3, min(DRAWN, steps * BATCH), pool="all")
    right, network = targets(drawn), SecondOpinion()
    train(network, lambda pictures, rows: classification(network(pictures), right, rows), drawn, steps)
    network.half().save_pretrained(folder)
