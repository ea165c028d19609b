"""The miniature's scenes and judge: pixel portraits, composed of sprites; they are no photographs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from study.tasks.diffusion.controlled_unet import EncoderShape
from study.tasks.diffusion.placed import Placed
from study.tasks.diffusion.scenes import Judged
from study.tasks.miniature.portraits import LOOKS, PARTS, Portraits, Split, portraits, shifted, unshifted
from study.tasks.miniature.portraits.networks import attribute_network, segmenter

UPRIGHT, SHIFTED = "portraits-upright", "portraits"
"""Names of the data: what the base model was pretrained on, and what it is adapted to."""

ENCODER = EncoderShape(len(PARTS), (32, 64))
"""Of a plane per class, which is learnt in far fewer steps than RGB: ETHER+ at 5e-2 and an encoder's rate of
1e-2, 400 steps of 4: mIoU .50 against .37 (3 seeds each, widths 16 and 32)."""

SIZES: dict[Split, int] = {"train": 2000, "valid": 24, "test": 64}
SEED = 1


class PortraitScenes:
    """One split of them.

    Attributes:
        looks: what the captions say, (rows, kinds), or HIDDEN where a look cannot be seen.
    """

    def __init__(self, drawn: Portraits) -> None:
        self.captions: Sequence[str] = drawn.captions
        self.looks = drawn.looks
        self._pictures, self._maps = drawn.pictures, drawn.maps.to(torch.uint8)

    def __len__(self) -> int:
        return len(self.captions)

    def pictures(self, indices: Sequence[int]) -> Tensor:
        return self._pictures[list(indices)]

    def maps(self, indices: Sequence[int]) -> Tensor:
        return self._maps[list(indices)]


def portrait_scenes(data: str) -> dict[str, PortraitScenes]:
    """The splits of one of the two data sets; new sprites and colours are in neither."""
    change = shifted if data == SHIFTED else lambda drawn: drawn
    return {split: PortraitScenes(change(portraits(SEED, count, split))) for split, count in SIZES.items()}


class PortraitJudge:
    """The segmenter and the attribute network that ship with the base model; they know upright portraits."""

    classes = len(PARTS)

    def __init__(self, checkpoint: Path, data: str) -> None:
        self._segmenter = Placed(segmenter(checkpoint))
        network = attribute_network(checkpoint)
        self._network = Placed(network)
        self.features = network.config.features
        self._shifted = data == SHIFTED

    def models(self, device: torch.device) -> list[nn.Module]:
        return [self._segmenter.on(device), self._network.on(device)]

    def judge(self, pictures: Tensor) -> Judged:
        upright = unshifted(pictures) if self._shifted else pictures
        maps = self._segmenter.on(pictures.device)(upright).argmax(1)
        seen = self._network.on(pictures.device)(upright)
        looks = torch.stack([seen.logits[kind].argmax(1) for kind in LOOKS], 1)
        return Judged(maps.rot90(1, dims=(1, 2)) if self._shifted else maps, seen.features, looks)
