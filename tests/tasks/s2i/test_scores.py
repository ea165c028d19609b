"""Scores of generated pictures, against values by hand and other references."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor
from torchmetrics.classification import MulticlassJaccardIndex

from study.tasks.diffusion.scenes import UNLABELLED, Judged, class_planes, control_pictures, palette
from study.tasks.diffusion.scores import caption_accuracy, frechet_distance, judgement, layout_scores


class Painted:
    """A judge of pictures whose first channel is the class of each pixel, over ten."""

    classes, features = 4, 3

    def judge(self, pictures: Tensor) -> Judged:
        maps = (pictures[:, 0] * 10).round().long()
        return Judged(maps, pictures.flatten(1)[:, :3], maps.flatten(1)[:, :2])


def painted(maps: Tensor) -> Tensor:
    return (maps / 10).unsqueeze(1).repeat(1, 3, 1, 1)


def test_scores_of_one_picture_by_hand() -> None:
    wanted = torch.tensor([[[0, 0, 1], [1, 2, UNLABELLED]]], dtype=torch.uint8)
    seen = torch.tensor([[[0, 1, 1], [1, 0, 3]]])
    made = layout_scores(judgement(Painted(), painted(seen), wanted, None), Painted.classes)
    # class 0: 1 of (2 wanted + 1 false); 1: 2 of (2 + 1 false); 2: none of 1; 3: only where nothing counts
    assert made["mean_iou"] == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)
    assert made["pixel_accuracy"] == pytest.approx(3 / 5)
    assert made["mean_accuracy"] == pytest.approx((1 / 2 + 1 + 0) / 3)


def test_mean_iou_over_a_split_is_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    wanted = torch.randint(0, 3, (7, 5, 6), generator=generator)  # class 3 is nowhere wanted
    wanted[0, 0] = UNLABELLED
    seen = torch.randint(0, 4, (7, 5, 6), generator=generator)
    parts = [
        judgement(Painted(), painted(s), w.to(torch.uint8), None)
        for s, w in zip(seen.split(3), wanted.split(3), strict=True)
    ]
    reference = MulticlassJaccardIndex(4, ignore_index=UNLABELLED)
    made = layout_scores(torch.cat(parts), Painted.classes)
    assert made["mean_iou"] == pytest.approx(reference(seen, wanted).item())


def test_frechet_distance_is_that_of_its_formula() -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(50, 2 + 3 * Painted.classes + 3, generator=generator) for _ in range(2))
    other[:, -3:] = other[:, -3:] @ torch.randn(3, 3, generator=generator) + 0.5
    a, b = (part[:, -3:].double().numpy() for part in (one, other))
    covariances = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(
        sum(covariances) - 2 * sqrtm(covariances[0] @ covariances[1]).real
    )
    assert frechet_distance(one, other, Painted.classes) == pytest.approx(expected, rel=1e-4)
    assert frechet_distance(one, one, Painted.classes) == pytest.approx(0, abs=1e-6)


def test_looks_that_cannot_be_seen_do_not_count() -> None:
    seen = torch.tensor([[[0, 1]], [[2, 3]]])
    looks = torch.tensor([[0, 2], [-1, 3]])  # right, wrong, hidden, right
    made = judgement(Painted(), painted(seen), torch.zeros(2, 1, 2, dtype=torch.uint8), looks)
    assert caption_accuracy(made, Painted.classes) == pytest.approx(2 / 3)


def test_one_picture_that_is_not_finite_leaves_no_score() -> None:
    pictures, maps = painted(torch.zeros(3, 2, 2)), torch.zeros(3, 2, 2, dtype=torch.uint8)
    real = judgement(Painted(), pictures, maps, None)
    pictures[1, 0, 0, 0] = math.inf
    made = judgement(Painted(), pictures, maps, None)
    assert made[1].isnan().all() and torch.isfinite(made[[0, 2]]).all()
    assert all(math.isnan(value) for value in layout_scores(made, Painted.classes).values())
    assert math.isnan(frechet_distance(made, real, Painted.classes))


def test_every_class_has_a_colour_of_its_own() -> None:
    colours = palette()
    assert len({tuple(colour.tolist()) for colour in colours}) == 256
    assert colours[UNLABELLED].tolist() == [0, 0, 0] and colours.min() >= 0 and colours.max() <= 1
    picture = control_pictures(torch.tensor([[[0, 7], [UNLABELLED, 0]]], dtype=torch.uint8))
    assert picture.shape == (1, 3, 2, 2)
    assert torch.equal(picture[0, :, 0, 1], colours[7]) and torch.equal(picture[0, :, 1, 0], torch.zeros(3))


def test_planes_of_classes_say_where_each_class_is() -> None:
    planes = class_planes(torch.tensor([[[0, 2], [UNLABELLED, 0]]], dtype=torch.uint8), 3)
    expected = [[[1, 0], [0, 1]], [[0, 0], [0, 0]], [[0, 1], [0, 0]]]
    assert planes.tolist() == [expected]
