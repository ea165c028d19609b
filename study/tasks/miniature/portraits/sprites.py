"""The sprites, as pixels: what each paints, and what it leaves of what is beneath it.

Their source is `sprites.json` (design by DiceBear, CC0 1.0, see SPRITES-LICENSE), which
`study.pretraining.sprites` made. Paths have straight edges on whole numbers, so that filling them at the
centres of pixels is exact.
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

FILE = Path(__file__).parent / "sprites.json"
SIZE = 16
"""Pixels of a side."""

WHITE, BLACK = "#fff", "#000"


@dataclass(frozen=True)
class Layer:
    """One filled path.

    Attributes:
        path: SVG's commands M, H, V, Z in both cases, on whole numbers.
        fill: WHITE, BLACK, or the name of a colour that each portrait chooses.
        opacity: in (0, 1].
        rule: which windings are inside: `nonzero` or `evenodd`.
    """

    path: str
    fill: str
    opacity: float
    rule: str

    def mask(self) -> np.ndarray:
        """The pixels that are inside, (16, 16), bool."""
        windings = np.zeros((SIZE, SIZE), dtype=int)
        for x, start, end in vertical_edges(self.path):
            windings[min(start, end) : max(start, end), x:] += 1 if end > start else -1
        return windings % 2 == 1 if self.rule == "evenodd" else windings != 0


@dataclass(frozen=True)
class Sprite:
    """Painted over a canvas in colour c, it leaves keep * canvas + own * c + white.

    Attributes:
        planes: keep, own and white, (3, 16, 16), each in [0, 1].
    """

    name: str
    planes: np.ndarray

    @classmethod
    def of(cls, name: str, layers: list[Layer]) -> Sprite:
        """Its layers, painted one over the other."""
        planes = np.zeros((3, SIZE, SIZE))
        planes[0] = 1
        for layer in layers:
            alpha = layer.opacity * layer.mask()
            planes *= 1 - alpha
            if layer.fill == WHITE:
                planes[2] += alpha
            elif layer.fill != BLACK:
                planes[1] += alpha
        return cls(name, planes)

    @property
    def covers(self) -> np.ndarray:
        """The pixels where nothing of what is beneath is seen, (16, 16), bool."""
        return self.planes[0] == 0


def vertical_edges(path: str) -> list[tuple[int, int, int]]:
    """(x, y of its start, y of its end) of each vertical edge of a path."""
    edges = []
    x = y = first_x = first_y = 0
    for command, arguments in re.findall(r"([MmHhVvZz])([^A-Za-z]*)", path):
        numbers = [int(number) for number in re.findall(r"-?\d+", arguments)]
        before = y
        if command in "Mm":
            x, y = (numbers[0], numbers[1]) if command == "M" else (x + numbers[0], y + numbers[1])
            first_x, first_y = x, y
            continue
        if command in "Hh":
            x = numbers[0] + (x if command == "h" else 0)
        elif command in "Vv":
            y = numbers[0] + (y if command == "v" else 0)
        else:
            x, y = first_x, first_y  # a closing edge is vertical, horizontal or nothing
        if y != before:
            edges.append((x, before, y))
    return edges


@functools.cache
def layers() -> dict[str, dict[str, list[Layer]]]:
    """Group -> name -> layers, as in the file."""
    content = json.loads(FILE.read_text())
    return {
        group: {name: [Layer(*layer) for layer in of_sprite] for name, of_sprite in sprites.items()}
        for group, sprites in content.items()
    }


@functools.cache
def sprites(group: str) -> tuple[Sprite, ...]:
    """The sprites of a group, in the file's order."""
    return tuple(Sprite.of(name, of_sprite) for name, of_sprite in layers()[group].items())
