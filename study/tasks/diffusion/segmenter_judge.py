"""The judge at the paper's scale: any segmenter of transformers, and Inception from local weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForSemanticSegmentation

from study.errors import UsageError, first_line
from study.settings import TaskSettings
from study.tasks.diffusion.map_scenes import Numbering
from study.tasks.diffusion.placed import Placed
from study.tasks.diffusion.scenes import UNLABELLED, Judged
from study.tasks.loading.pretrained import load_config, load_image_processor, load_pretrained

INCEPTION_FEATURES = 2048
SEGMENTER, INCEPTION = "task.segmenter", "task.inception"


class SegmenterJudge:
    """Sees the classes of a semantic segmenter; gives Inception's features if its weights are named.

    Attributes:
        numbering: what its classes are called in maps: those of ADE20K's segmenters from 1.
    """

    def __init__(self, settings: TaskSettings, size: int) -> None:
        """Args: size: height and width of the pictures.

        Raises:
            UsageError: if a judge cannot be loaded, or does not take such pictures.
        """
        if not settings.segmenter:
            raise UsageError(
                f"{SEGMENTER}: name one, of transformers' hub or a folder, such as"
                " openmmlab/upernet-convnext-small; it sees the maps of generated pictures"
            )
        path = expanded(settings.segmenter)
        processor = load_image_processor(path, SEGMENTER)
        self.classes = load_config(path, SEGMENTER).num_labels or 0
        segmenter = load_pretrained(AutoModelForSemanticSegmentation, path, [], SEGMENTER).eval()
        self._mean, self._std = mean_and_std(processor)
        self._reversed = bool(getattr(processor, "do_flip_channel_order", False))
        self._segmenter = Placed(segmenter)
        from_one = any(getattr(processor, name, None) for name in ("do_reduce_labels", "reduce_labels"))
        self.numbering = Numbering(self.classes, from_one)
        self._inception = Placed(_inception(expanded(settings.inception))) if settings.inception else None
        self.features = INCEPTION_FEATURES if self._inception else 0
        self._check(settings.segmenter, size)

    def _check(self, name: str, size: int) -> None:
        where = f"{SEGMENTER}={name}"
        if self.classes >= UNLABELLED:
            raise UsageError(f"{where}: knows {self.classes} classes, and a map has less than {UNLABELLED}")
        try:
            with torch.no_grad():
                logits = self._logits(torch.zeros(1, 3, size, size))
        except Exception as error:  # each segmenter says it in a way of its own
            raise UsageError(
                f"{where}: takes no pictures of {size}x{size} pixels: {first_line(error)}"
            ) from None
        if logits.ndim != 4 or logits.shape[1] != self.classes:
            raise UsageError(f"{where}: gives no score for each class and pixel, but {tuple(logits.shape)}")

    def judge(self, pictures: Tensor) -> Judged:
        maps = F.interpolate(self._logits(pictures), pictures.shape[-2:], mode="bilinear").argmax(1)
        features = pictures.new_zeros(len(pictures), self.features)
        if self._inception:
            shares = pictures / 2 + 0.5
            features = self._inception.on(pictures.device)((shares * 255).round().to(torch.uint8))
        return Judged(maps, features)

    def models(self, device: torch.device) -> list[nn.Module]:
        placed = [self._segmenter, *([self._inception] if self._inception else [])]
        return [each.on(device) for each in placed]

    def _logits(self, pictures: Tensor) -> Tensor:
        """Of each class, (rows, classes, height, width) in the segmenter's own resolution."""
        shares = pictures / 2 + 0.5
        if self._reversed:
            shares = shares.flip(1)
        normal = (shares - self._mean.to(pictures)) / self._std.to(pictures)
        logits = self._segmenter.on(pictures.device)(pixel_values=normal).logits
        assert isinstance(logits, Tensor)
        return logits


def expanded(path: str) -> str:
    return str(Path(path).expanduser()) if path.startswith("~") else path


def mean_and_std(processor: Any) -> tuple[Tensor, Tensor]:
    """By which pictures in [0, 1] are made normal, (3, 1, 1) each."""
    normalises = getattr(processor, "do_normalize", True) and processor.image_mean is not None
    given = (processor.image_mean, processor.image_std) if normalises else ([0.0] * 3, [1.0] * 3)
    mean, std = (torch.tensor(each).view(-1, 1, 1) for each in given)
    return mean, std


def _inception(weights: str) -> torch.nn.Module:
    """torchmetrics' Inception network, whose features the FID is made of."""
    if not Path(weights).is_file():
        raise UsageError(f"{INCEPTION}={weights}: no such file; give pt_inception-2015-12-05-6726825d.pth")
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        features = [str(INCEPTION_FEATURES)]
        network = NoTrainInceptionV3("inception-v3-compat", features, feature_extractor_weights_path=weights)
    except ModuleNotFoundError:
        raise UsageError(f"{INCEPTION} needs torch-fidelity: pip install torch-fidelity") from None
    except Exception as error:
        raise UsageError(f"{INCEPTION}={weights} cannot be loaded: {first_line(error)}") from None
    return network.eval().requires_grad_(False)
