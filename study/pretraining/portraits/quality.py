"""How good the base model of the portraits and its judges are, and a page of its samples to look at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.image.fid import FrechetInceptionDistance

from study.pretraining.portraits.judges import SecondOpinion
from study.tasks.miniature.portraits import PARTS, Portraits, portraits, shifted, unshifted
from study.tasks.miniature.portraits.networks import (
    AttributeNetwork,
    attribute_network,
    frozen,
    right,
    segmenter,
)
from study.tasks.miniature.portraits.pipeline import PortraitPipeline

SAMPLES, AT_ONCE = 1000, 100
PAGE = "samples.png"
ROWS, COLUMNS, ENLARGED = 4, 12, 5
"""Of the page: real pictures in so many rows, then as many of samples; each pixel is so many wide."""


class Features(nn.Module):
    """The attribute network's features alone, as torchmetrics' Frechet distance asks for them."""

    def __init__(self, network: AttributeNetwork) -> None:
        super().__init__()
        self.network = network
        self.num_features = network.config.features

    def forward(self, pictures: Tensor) -> Tensor:
        return self.network(pictures).features


def sample(pipeline: PortraitPipeline, captions: list[str], seed: int = 0) -> Tensor:
    """A picture per caption, (rows, 3, 16, 16), from noise of a seed."""
    channels, size = pipeline.unet.config.in_channels, pipeline.unet.config.sample_size
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(len(captions), channels, size, size, generator=generator)
    parts = [
        pipeline(captions[first : first + AT_ONCE], noise[first : first + AT_ONCE])
        for first in range(0, len(captions), AT_ONCE)
    ]
    return torch.cat(parts)


def frechet(network: AttributeNetwork, real: Tensor, other: Tensor) -> float:
    """Frechet distance of two sets of pictures in the attribute network's features. It is no FID."""
    distance = FrechetInceptionDistance(feature=Features(network))
    distance.update(real, real=True)
    distance.update(other, real=False)
    return distance.compute().item()


def mean_iou(maps: Tensor, right_maps: Tensor) -> float:
    """Mean over PARTS of the intersection over union of all pixels."""
    return MulticlassJaccardIndex(num_classes=len(PARTS))(maps, right_maps).item()


@torch.no_grad()
def quality(checkpoint: Path) -> dict[str, float]:
    """What is measured on SAMPLES samples and on as many pictures of the test split.

    Samples are judged by the second opinion. The first of them are on the page that this leaves.
    """
    pipeline = PortraitPipeline.from_pretrained(checkpoint, dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    judge = frozen(SecondOpinion, checkpoint / "second_opinion")
    looks, parts = attribute_network(checkpoint), segmenter(checkpoint)
    real, more = portraits(0, SAMPLES, "test"), portraits(1, SAMPLES, "test")
    everything = portraits(0, SAMPLES, "test", pool="all")
    samples = sample(pipeline, real.captions)
    page(real, samples).save(checkpoint / PAGE)

    def segmented(of: Portraits, pictures: Tensor) -> float:
        return mean_iou(parts(pictures).argmax(1), of.maps)

    of_samples, of_real = right(judge(samples), real), right(judge(real.pictures), real)
    of_all = right(looks(everything.pictures).logits, everything)
    figures = {
        "looks of samples": float(np.mean(list(of_samples.values()))),
        **{f"looks of samples: {look}": share for look, share in of_samples.items()},
        "looks of real pictures": float(np.mean(list(of_real.values()))),
        "Frechet distance of samples": frechet(looks, real.pictures, samples),
        "Frechet distance of real pictures": frechet(looks, real.pictures, more.pictures),
        "segmenter's mIoU": segmented(real, real.pictures),
        "segmenter's mIoU, shifted": segmented(real, unshifted(shifted(real).pictures)),
        "segmenter's mIoU, new sprites and colors too": segmented(everything, everything.pictures),
        **{f"attribute network: {name}": share for name, share in of_all.items()},
    }
    return {name: round(value, 4) for name, value in figures.items()}


def page(real: Portraits, samples: Tensor) -> Image.Image:
    """Real pictures, and below them samples of the same captions."""
    rows = [pictures[: ROWS * COLUMNS] for pictures in (real.pictures, samples)]
    pixels = ((torch.cat(rows) + 1) * 127.5).round().byte()
    height, width = pixels.shape[2] * len(pixels) // COLUMNS, pixels.shape[3] * COLUMNS
    grid = pixels.unflatten(0, (-1, COLUMNS)).permute(0, 3, 1, 4, 2).reshape(height, width, 3)
    return Image.fromarray(grid.numpy()).resize(
        (ENLARGED * width, ENLARGED * height), Image.Resampling.NEAREST
    )
