"""What a control task learns from: pictures, each with a map of classes and a caption."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

UNLABELLED = 255
"""Stands in a map where a pixel has no class: it is black in the control picture, and does not count."""


class Scenes(Protocol):
    """One split.

    Attributes:
        captions: a sentence each.
    """

    captions: Sequence[str]

    def __len__(self) -> int: ...

    def pictures(self, indices: Sequence[int]) -> Tensor:
        """(rows, 3, size, size), float32 in [-1, 1]."""
        ...

    def maps(self, indices: Sequence[int]) -> Tensor:
        """The class of each pixel, or UNLABELLED: (rows, size, size), uint8."""
        ...


class Judge(Protocol):
    """What generated pictures are judged by.

    Attributes:
        classes: how many a map can have.
        features: how many numbers `features` gives; 0 if it gives none.
    """

    classes: int
    features: int

    def judge(self, pictures: Tensor) -> Judged: ...

    def models(self, device: torch.device) -> list[nn.Module]:
        """What judges, on this device."""
        ...


@dataclass(frozen=True)
class Judged:
    """What a judge sees in pictures, (rows, 3, height, width) in [-1, 1].

    Attributes:
        maps: the class of each pixel, (rows, height, width), int64.
        features: for the Frechet distance, (rows, features).
        looks: what captions speak of, (rows, kinds), int64; none where the judge knows no captions.
    """

    maps: Tensor
    features: Tensor
    looks: Tensor | None = None


def control_pictures(maps: Tensor) -> Tensor:
    """Maps as RGB pictures in [0, 1], a colour for each class: (rows, 3, height, width)."""
    return palette().to(maps.device)[maps.long()].movedim(-1, 1)


def class_planes(maps: Tensor, classes: int) -> Tensor:
    """Maps as a plane for each class, 1 where it is and 0 elsewhere: (rows, classes, height, width)."""
    planes = torch.arange(classes, device=maps.device).view(-1, 1, 1)
    return (maps.unsqueeze(1) == planes).float()


def palette() -> Tensor:
    """The colour of each class, (256, 3) in [0, 1]: PASCAL VOC's, but for its black, which UNLABELLED has."""
    numbers = torch.arange(1, UNLABELLED + 2)
    colours = torch.zeros(len(numbers), 3, dtype=torch.long)
    for channel in range(3):
        for digit in range(8):
            bit = numbers.bitwise_right_shift(3 * digit + channel).bitwise_and(1)
            colours[:, channel] |= bit << (7 - digit)
    colours[UNLABELLED] = 0
    return colours / 255
