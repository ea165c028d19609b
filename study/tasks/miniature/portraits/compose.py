"""From attributes to pictures, maps of parts, and what is seen in them."""

from __future__ import annotations

import functools

import numpy as np

from study.tasks.miniature.portraits.attributes import NONE, Attributes
from study.tasks.miniature.portraits.looks import COLORS, FRAME, LOOKS, MOUTH, MOUTHS, is_long, sprite_names
from study.tasks.miniature.portraits.sprites import SIZE, sprites

PARTS = ("background", "skin", "clothes", "eyes", "glasses", "beard", "mouth", "hair", "hat")
"""Classes of the maps, in the order in which they are painted."""

HIDDEN = -1
"""In the place of a look: the picture does not show it."""

SEEN_FROM = 2
"""So many pixels of hair can be seen as hair."""


def rgb(colors: list[str]) -> np.ndarray:
    """(colours, 3), in 0 to 255."""
    return np.array([list(bytes.fromhex(color)) for color in colors], dtype=float)


@functools.cache
def planes(group: str) -> np.ndarray:
    """`Sprite.planes` of a group's sprites and then, at NONE, of nothing, (sprites + 1, 3, 16, 16)."""
    nothing = np.stack([np.ones((SIZE, SIZE)), np.zeros((SIZE, SIZE)), np.zeros((SIZE, SIZE))])
    return np.stack([*(sprite.planes for sprite in sprites(group)), nothing])


def compose(attributes: Attributes) -> tuple[np.ndarray, np.ndarray]:
    """Pictures, (rows, 3, 16, 16), uint8, and the number in PARTS of what each pixel shows, (rows, 16, 16).

    That is the last part to cover the pixel; one that shines through, as lenses do, covers nothing.
    """
    rows = len(attributes)
    palette = {thing: rgb(list(colors.values())) for thing, colors in COLORS.items()}
    one = np.zeros(rows, dtype=int)
    hair = palette["hair"][attributes.hair_color]
    painted = [
        ("body", one, palette["skin"][attributes.skin]),
        ("clothing", attributes.clothing, palette["clothes"][attributes.clothing_color]),
        ("eyes", attributes.eyes, palette["eyes"][attributes.eye_color]),
        ("glasses", attributes.glasses, rgb([FRAME])[one]),
        ("beard", attributes.beard, hair),
        ("mouth", attributes.mouth, rgb([MOUTH])[one]),
        ("hair", attributes.hair, hair),
        ("hat", attributes.hat, palette["hat"][attributes.hat_color]),
    ]
    shape = (rows, 3, SIZE, SIZE)
    canvas = np.broadcast_to(palette["background"][attributes.background][:, :, None, None], shape)
    maps = np.zeros((rows, SIZE, SIZE), dtype=np.int64)
    for part, (group, numbers, color) in enumerate(painted, start=1):
        keep, own, white = planes(group)[numbers].swapaxes(0, 1)[:, :, None]
        canvas = keep * canvas + own * color[:, :, None, None] + 255 * white
        maps = np.where(keep[:, 0] == 0, part, maps)
    return canvas.round().astype(np.uint8), maps


def looks(attributes: Attributes, maps: np.ndarray) -> np.ndarray:
    """What is seen of each of LOOKS, as its number there or HIDDEN, (rows, looks), int64.

    Hair that a hat covers is hidden, and so is that there is none.
    """
    length = np.array([2 if is_long(hair) else 1 for hair in range(len(sprites("hair")))] + [0])
    names = sprite_names("mouth")
    expression = {names.index(name): i for i, of in enumerate(MOUTHS.values()) for name in of}
    dark = np.array([2 if name.startswith("dark") else 1 for name in sprite_names("glasses")] + [0])
    seen = (maps == PARTS.index("hair")).sum((1, 2)) >= SEEN_FROM
    hat = attributes.hat != NONE
    found = {
        "skin": attributes.skin,
        "hair": np.where(seen | ~hat, length[attributes.hair], HIDDEN),
        "hair color": np.where(seen, attributes.hair_color, HIDDEN),
        "shirt color": attributes.clothing_color,
        "expression": np.array([expression[int(mouth)] for mouth in attributes.mouth], dtype=np.int64),
        "glasses": dark[attributes.glasses],
        "beard": (attributes.beard != NONE).astype(np.int64),
        "hat": np.where(hat, attributes.hat_color + 1, 0),
        "background": attributes.background,
    }
    return np.stack([found[look] for look in LOOKS], axis=1)
