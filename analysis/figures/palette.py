"""The colours of methods: a method's own wherever it appears, never one twice, told apart if colour-blind.

The paper's methods have colours of Okabe and Ito's palette; full finetuning is black. The spare ones were
chosen to be far from all of them and from each other, seen with normal vision and with each of the three
kinds of colour blindness; tests/analysis/figures/test_palette.py measures it.
"""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence

from matplotlib.colors import to_hex, to_rgb

COLOURS = {
    "ether": "#0072B2",
    "ether_plus": "#009E73",
    "lora": "#D55E00",
    "oft": "#CC79A7",
    "naive": "#E69F00",
    "full": "#000000",
}
SPARE = ("#56B4E9", "#8800FF", "#663311", "#112288")
"""For all other methods."""

MUTED = "#B8B8B8"
"""Of whoever is not highlighted."""

DISTINCT = len(COLOURS) + len(SPARE)
"""As many methods have colours that are far from each other; further ones are merely different."""


def colours_of(methods: Sequence[str]) -> dict[str, str]:
    """A colour for each method.

    One without a fixed colour has a preferred one of SPARE, by its name. Where two of a figure prefer the
    same, the first by the alphabet has it, and the other the next that is free; beyond those a hue is made.
    """
    found = {method: COLOURS[method] for method in methods if method in COLOURS}
    for method in sorted(set(methods) - set(COLOURS)):
        preferred = zlib.crc32(method.encode()) % len(SPARE)
        choices = [SPARE[(preferred + step) % len(SPARE)] for step in range(len(SPARE))]
        free = [colour for colour in choices if colour not in found.values()]
        found[method] = free[0] if free else _further(set(found.values()))
    return found


def shades(colour: str, count: int) -> list[str]:
    """`count` shades of a colour from dark to light, all of them different; the colour itself for one."""
    if count == 1:
        return [colour]
    darkest = 0.0 if colour == COLOURS["full"] else -0.4
    steps = [darkest + (0.6 - darkest) * index / (count - 1) for index in range(count)]
    return [_mixed(colour, step) for step in steps]


def _mixed(colour: str, share: float) -> str:
    """The colour with a share of white or, where that is negative, of black."""
    towards = 1.0 if share > 0 else 0.0
    red, green, blue = (part + abs(share) * (towards - part) for part in to_rgb(colour))
    return to_hex((red, green, blue)).upper()


def _further(taken: set[str]) -> str:
    """A colour that is not taken: hues a golden section apart, in three lightnesses."""
    number = 0
    while True:
        red, green, blue = colorsys.hls_to_rgb(0.618034 * number % 1, 0.35 + 0.12 * (number % 3), 0.6)
        colour = to_hex((red, green, blue)).upper()
        if colour not in taken:
            return colour
        number += 1
