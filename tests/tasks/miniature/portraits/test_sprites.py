"""Sprites are filled as SVG fills them."""

from __future__ import annotations

import re

import numpy as np
import pytest

from study.tasks.miniature.portraits.looks import MOUTHS, NEW_SPRITES
from study.tasks.miniature.portraits.sprites import BLACK, SIZE, WHITE, Layer, Sprite, layers, sprites

SQUARE_IN_SQUARE = "M1 1h6v6H1ZM3 3h2v2H3z"


def polygons(path: str) -> list[list[tuple[int, int]]]:
    """The corners of each closed part of a path, read one command after the other."""
    found: list[list[tuple[int, int]]] = []
    position = (0, 0)
    for command, text in re.findall(r"([MmHhVvZz])([^MmHhVvZz]*)", path):
        numbers = [int(n) for n in re.findall(r"-?\d+", text)]
        base = position if command.islower() else (0, 0)
        match command.lower():
            case "m":
                position = (base[0] + numbers[0], base[1] + numbers[1])
                found.append([])
            case "h":
                position = (base[0] + numbers[0], position[1])
            case "v":
                position = (position[0], base[1] + numbers[0])
            case _:
                position = found[-1][0]
        found[-1].append(position)
    return found


def windings(path: str) -> np.ndarray:
    """How often a path goes round each pixel's centre, from the angles under which its edges are seen."""
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    total = np.zeros((SIZE, SIZE))
    for corners in polygons(path):
        for (x0, y0), (x1, y1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            turn = np.arctan2(y1 - y, x1 - x) - np.arctan2(y0 - y, x0 - x)
            total += (turn + np.pi) % (2 * np.pi) - np.pi
    return np.round(total / (2 * np.pi)).astype(int)


@pytest.mark.parametrize("group", layers())
def test_every_layer_is_filled_by_its_winding_numbers(group: str) -> None:
    for name, of_sprite in layers()[group].items():
        for layer in of_sprite:
            around = windings(layer.path)
            inside = around % 2 == 1 if layer.rule == "evenodd" else around != 0
            assert (layer.mask() == inside).all(), (name, layer)
            assert inside.any(), (name, layer)


@pytest.mark.parametrize(("rule", "pixels"), [("nonzero", 36), ("evenodd", 32)])
def test_the_two_rules_differ_where_a_path_goes_round_twice(rule: str, pixels: int) -> None:
    mask = Layer(SQUARE_IN_SQUARE, WHITE, 1.0, rule).mask()
    assert mask.sum() == pixels and mask[1:7, 1].all() and not mask[0].any()
    assert mask[3, 3] == (rule == "nonzero")


def test_layers_are_painted_one_over_the_other() -> None:
    """By hand, for colour c on canvas b: .8 c + .2 white, and under black of .5 half of that."""
    sprite = Sprite.of(
        "made up",
        [
            Layer("M0 0h3v1H0z", "hair", 1.0, "nonzero"),
            Layer("M1 0h2v1H1z", WHITE, 0.2, "nonzero"),
            Layer("M2 0h1v1H2zM5 5h1v1H5z", BLACK, 0.5, "nonzero"),
        ],
    )
    keep, own, white = sprite.planes
    assert (keep[0, 0], own[0, 0], white[0, 0]) == (0, 1, 0)
    assert (keep[0, 1], own[0, 1], white[0, 1]) == pytest.approx((0, 0.8, 0.2))
    assert (keep[0, 2], own[0, 2], white[0, 2]) == pytest.approx((0, 0.4, 0.1))
    assert (keep[5, 5], own[5, 5], white[5, 5]) == pytest.approx((0.5, 0, 0))
    assert sprite.covers.sum() == 3


def test_no_two_sprites_of_a_group_paint_the_same() -> None:
    """So nothing that the base model never saw is what it saw, by another name."""
    for group in layers():
        of_group = sprites(group)
        assert len({sprite.planes.tobytes() for sprite in of_group}) == len(of_group)


def test_names_that_are_picked_out_exist() -> None:
    for group, names in NEW_SPRITES.items():
        assert set(names) < set(layers()[group])
    mouths = [name for names in MOUTHS.values() for name in names]
    assert len(set(mouths)) == len(mouths) and set(mouths) < set(layers()["mouth"])
