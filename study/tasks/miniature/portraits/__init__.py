"""Pixel portraits: CC0 sprites composed into pictures with exact part maps and captions; no photographs.

The sprites are DiceBear's "Pixel Art" (sprites.json, SPRITES-LICENSE). Any number of pictures of 16 x 16
pixels can be drawn; which split a picture belongs to is decided by its pixels, so that none is in two.

**The base model** in `study/tasks/checkpoints/portraits` works on 2 x 2 pixels unshuffled into channels,
`pixel_unshuffle(pictures, 2)`, (rows, 12, 8, 8), with no factor to scale them by. Its scheduler is
diffusers' `DDIMScheduler` with `prediction_type="v_prediction"`, and everything goes through the
scheduler's own methods: noise is added by `scheduler.add_noise(clean, noise, times)` with times drawn
evenly from 0 to `scheduler.config.num_train_timesteps - 1`; the target of
`unet(noisy, times, states).sample` is `scheduler.get_velocity(clean, noise, times)`; the loss is the mean
squared difference. `states` is `text_encoder(ids).last_hidden_state` of the caption padded to
`tokenizer.model_max_length`, without a mask, as in Stable Diffusion; the empty caption is what guidance
compares with. Sampling: 10 steps of DDIM with a guidance of 1.5, see `PortraitPipeline`.

**The judges** (`networks`: the segmenter, the network of looks and identities) know upright pictures alone.
Shifted pictures are turned back by `unshifted` before they are judged, which loses nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from study.tasks.miniature.portraits.attributes import Attributes, Pool, draw, subjects
from study.tasks.miniature.portraits.captions import caption
from study.tasks.miniature.portraits.compose import HIDDEN, PARTS, compose, looks
from study.tasks.miniature.portraits.looks import LOOKS

__all__ = [
    "HIDDEN", "LOOKS", "PARTS", "Attributes", "Portraits", "caption", "of_attributes", "portraits",
    "shifted", "subjects", "unshifted",
]  # fmt: skip

Split = Literal["train", "valid", "test"]
SHARES = {"train": range(8), "valid": range(8, 9), "test": range(9, 10)}
"""Tenths of all possible pictures."""


@dataclass(frozen=True)
class Portraits:
    """Pictures and what is known of them.

    Attributes:
        pictures: (rows, 3, 16, 16), float32 in [-1, 1].
        maps: the number in PARTS of each pixel, (rows, 16, 16), int64.
        captions: a sentence each.
        looks: what is seen of each of LOOKS, as its number there or HIDDEN, (rows, looks), int64.
        attributes: what they are composed of.
    """

    pictures: Tensor
    maps: Tensor
    captions: list[str]
    looks: Tensor
    attributes: Attributes

    def __len__(self) -> int:
        return len(self.pictures)


def portraits(seed: int, count: int, split: Split = "train", pool: Pool = "base") -> Portraits:
    """So many portraits of a split, drawn with a seed; another number of them are other portraits.

    Args:
        pool: `base` for what the base model is pretrained on, `all` for new sprites and colours too.

    Raises:
        ValueError: for a split or pool that there is not.
    """
    if split not in get_args(Split) or pool not in get_args(Pool):
        raise ValueError(f"split={split}, pool={pool}: known are {get_args(Split)} and {get_args(Pool)}")
    generator = np.random.default_rng([seed, get_args(Pool).index(pool)])
    parts: list[Attributes] = []
    share = len(SHARES[split]) / 10
    while sum(map(len, parts)) < count:
        drawn = draw(generator, int(count / share) + 16, pool)
        parts.append(drawn[np.isin(_tenth(compose(drawn)[0]), SHARES[split])])
    return of_attributes(Attributes.concatenate(parts)[:count])


def of_attributes(attributes: Attributes) -> Portraits:
    """The portraits that are composed so, whatever their split."""
    pixels, maps = compose(attributes)
    seen = looks(attributes, maps)
    return Portraits(
        pictures=torch.from_numpy(pixels).float() / 127.5 - 1,
        maps=torch.from_numpy(maps),
        captions=[caption(row) for row in seen.tolist()],
        looks=torch.from_numpy(seen),
        attributes=attributes,
    )


def shifted(upright: Portraits) -> Portraits:
    """Turned by 90 degrees, with inverted colours; their maps are turned alike."""
    return replace(
        upright,
        pictures=-upright.pictures.rot90(1, dims=(2, 3)),
        maps=upright.maps.rot90(1, dims=(1, 2)),
    )


def unshifted(pictures: Tensor) -> Tensor:
    """Shifted pictures, (rows, 3, 16, 16), as they were."""
    return -pictures.rot90(-1, dims=(2, 3))


def _tenth(pixels: np.ndarray) -> np.ndarray:
    """A number of 0 to 9 that a picture's pixels decide, (rows,)."""
    flat = pixels.reshape(len(pixels), -1).astype(np.uint64)
    factors = np.random.default_rng(0).integers(1, 2**63, flat.shape[1], dtype=np.uint64) | np.uint64(1)
    return ((flat * factors).sum(1, dtype=np.uint64) >> np.uint64(40)) % np.uint64(10)
