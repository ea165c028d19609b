"""Scores of generated pictures: does the segmenter see the control map in them, and are they like real ones?

A picture's judgement is a row of numbers, so that those of a split can be gathered and added up:

    right, false and missed pixels of each class | looks right, looks that count | features

Counts are torchmetrics' `multiclass_stat_scores`, the Frechet distance is its `FrechetInceptionDistance`, of
features of any network.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torchmetrics.functional.classification import multiclass_stat_scores
from torchmetrics.image.fid import FrechetInceptionDistance

from study.tasks.diffusion.scenes import UNLABELLED, Judge

HIDDEN = -1
"""A look that cannot be told from a picture does not count."""


def judgement(judge: Judge, pictures: Tensor, maps: Tensor, looks: Tensor | None) -> Tensor:
    """A row per picture, (rows, 3 * classes + 2 + features); nan where a picture is not finite.

    Args:
        pictures: (rows, 3, height, width) in [-1, 1].
        maps: what they should show, (rows, height, width), uint8.
        looks: what their captions say, (rows, kinds), HIDDEN where that is nothing; None without any.
    """
    finite = torch.isfinite(pictures).flatten(1).all(1)
    judged = judge.judge(pictures.where(finite.view(-1, 1, 1, 1), 0.0))
    counts = multiclass_stat_scores(
        judged.maps.flatten(1),
        maps.long().flatten(1),
        num_classes=judge.classes,
        average=None,
        multidim_average="samplewise",
        ignore_index=UNLABELLED,
        validate_args=False,
    )  # (rows, classes, [right, false, true negative, missed, all])
    of_looks = torch.zeros(len(pictures), 2, device=pictures.device)
    if looks is not None and judged.looks is not None:
        told = looks != HIDDEN
        of_looks = torch.stack([((judged.looks == looks) & told).sum(1), told.sum(1)], 1)
    parts = [counts[..., 0], counts[..., 1], counts[..., 3], of_looks, judged.features]
    return torch.cat([part.float() for part in parts], 1).masked_fill(~finite[:, None], math.nan)


def layout_scores(judgements: Tensor, classes: int) -> dict[str, float]:
    """Mean IoU over the classes that are in the maps or seen, pixel accuracy, mean accuracy over classes.

    All are nan if a picture is not finite.

    Args:
        judgements: of a split, (rows, ...).
    """
    right, false, missed = judgements[:, : 3 * classes].double().sum(0).split(classes)
    if not torch.isfinite(right).all():
        return dict.fromkeys(("mean_iou", "pixel_accuracy", "mean_accuracy"), math.nan)
    there, in_maps = right + false + missed > 0, right + missed > 0
    return {
        "mean_iou": (right / (right + false + missed))[there].mean().item(),
        "pixel_accuracy": (right.sum() / (right + missed).sum()).item(),
        "mean_accuracy": (right / (right + missed))[in_maps].mean().item(),
    }


def caption_accuracy(judgements: Tensor, classes: int) -> float:
    """Share of the captions' looks that are found; nan where they say none."""
    right, told = judgements[:, 3 * classes : 3 * classes + 2].double().sum(0)
    return (right / told).item()


def frechet_distance(judgements: Tensor, real: Tensor, classes: int) -> float:
    """Between generated and real pictures, in the features of the judge; nan of less than two pictures, or
    if one is not finite."""
    start = 3 * classes + 2
    if len(judgements) < 2 or not torch.isfinite(judgements).all():
        return math.nan
    distance = FrechetInceptionDistance(feature=_Features(judgements.shape[1] - start))
    distance.update(judgements[:, start:].double(), real=False)
    distance.update(real[:, start:].double(), real=True)
    return distance.compute().item()


class _Features(nn.Module):
    """Features in the place of pictures, which are already known."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        return features
