"""The judge at the paper's scale: any segmenter of transformers, and Inception from local weights."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import AutoConfig, AutoImageProcessor, AutoModelForSemanticSegmentation

from study.errors import UsageError, first_line
from study.settings import TaskSettings
from study.tasks.diffusion.map_folder import Numbering
from study.tasks.diffusion.placed import Placed
from study.tasks.diffusion.scenes import Judged
from study.tasks.loading.pretrained import load_pretrained

INCEPTION_FEATURES = 2048


class SegmenterJudge:
    """Sees the classes of a semantic segmenter; gives Inception's features if its weights are named.

    Attributes:
        numbering: what its classes are called in maps: those of ADE20K's segmenters from 1.
    """

    def __init__(self, settings: TaskSettings) -> None:
        if not settings.segmenter:
            raise UsageError(
                "task.segmenter: name one, of transformers' hub or a folder, such as"
                " openmmlab/upernet-convnext-small; it sees the maps of generated pictures"
            )
        name = settings.segmenter
        try:
            processor = AutoImageProcessor.from_pretrained(name)
            labels = AutoConfig.from_pretrained(name).num_labels
        except Exception as error:
            raise UsageError(f"task.segmenter={name} cannot be loaded: {first_line(error)}") from None
        mean_and_std = (processor.image_mean, processor.image_std)
        self._mean, self._std = (torch.tensor(each).view(-1, 1, 1) for each in mean_and_std)
        self._segmenter = Placed(load_pretrained(AutoModelForSemanticSegmentation, name, []).eval())
        from_one = any(getattr(processor, name, None) for name in ("do_reduce_labels", "reduce_labels"))
        self.classes = labels
        self.numbering = Numbering(labels, from_one)
        self._inception = Placed(_inception(settings.inception)) if settings.inception else None
        self.features = INCEPTION_FEATURES if self._inception else 0

    def judge(self, pictures: Tensor) -> Judged:
        shares = pictures / 2 + 0.5
        normal = (shares - self._mean.to(pictures)) / self._std.to(pictures)
        logits = self._segmenter.on(pictures.device)(pixel_values=normal).logits
        maps = F.interpolate(logits, pictures.shape[-2:], mode="bilinear").argmax(1)
        features = pictures.new_zeros(len(pictures), self.features)
        if self._inception:
            features = self._inception.on(pictures.device)((shares * 255).round().to(torch.uint8))
        return Judged(maps, features)


def _inception(weights: str) -> torch.nn.Module:
    """torchmetrics' Inception network, whose features the FID is made of."""
    if not Path(weights).is_file():
        raise UsageError(f"task.inception={weights}: no such file; give pt_inception-2015-12-05-6726825d.pth")
    try:
        from torchmetrics.image.fid import NoTrainInceptionV3

        features = [str(INCEPTION_FEATURES)]
        network = NoTrainInceptionV3("inception-v3-compat", features, feature_extractor_weights_path=weights)
    except ModuleNotFoundError:
        raise UsageError("task.inception needs torch-fidelity: pip install torch-fidelity") from None
    except Exception as error:
        raise UsageError(f"task.inception={weights} cannot be loaded: {first_line(error)}") from None
    return network.eval().requires_grad_(False)
