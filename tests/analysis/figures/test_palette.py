"""Colours: a method's own everywhere, never one twice, and told apart with every kind of colour vision."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from numpy.typing import NDArray

from analysis.figures.look import Look, looking
from analysis.figures.palette import COLOURS, MUTED, SPARE, colours_of, shades
from analysis.figures.style import method_styles

VISION = {
    "normal": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
"""Of linear RGB, at severity 1: Machado, Oliveira and Fernandes 2009, IEEE TVCG 15:1291, table 1."""

FAR = 15
"""In CIELAB: some six times what is just noticed (2.3), so that thin lines differ, too."""


def lab(colour: str, vision: str) -> NDArray[np.float64]:
    """The colour as it is seen, in CIELAB (D65)."""
    rgb = np.array(to_rgb(colour))
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    seen = np.clip(VISION[vision] @ linear, 0, 1)
    to_xyz = np.array([[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750],
                       [0.0193339, 0.1191920, 0.9503041]])  # fmt: skip
    x, y, z = np.cbrt(np.maximum(to_xyz @ seen / np.array([0.95047, 1, 1.08883]), 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def test_the_simulation_is_right() -> None:
    assert lab("#FFFFFF", "normal") == pytest.approx([100, 0, 0], abs=0.1)
    assert lab("#FF0000", "normal") == pytest.approx([53.2, 80.1, 67.2], abs=0.1)
    red, green = (lab(colour, "deuteranopia") for colour in ("#B0A000", "#C09A20"))
    assert np.linalg.norm(red - green) < FAR  # a pair that such an eye takes for one


@pytest.mark.parametrize("vision", VISION)
def test_colours_are_told_apart(vision: str) -> None:
    colours = [*COLOURS.values(), *SPARE]
    for first, second in itertools.combinations(colours, 2):
        assert np.linalg.norm(lab(first, vision) - lab(second, vision)) > FAR, (first, second)
    assert all(lab(colour, vision)[0] < 80 for colour in colours)  # on white


def styles_of(*methods: str) -> dict:
    return method_styles(list(methods), {method: method for method in methods})


def test_a_method_keeps_its_colour_whoever_is_beside_it() -> None:
    assert styles_of("ether", "hra")["hra"].colour == styles_of("hra", "lora", "full", "oft")["hra"].colour
    for method, colour in COLOURS.items():
        assert styles_of("x", method, "y")[method].colour == colour


@pytest.mark.parametrize("count", [2, 7, 12, 40])
def test_no_colour_is_there_twice(count: int) -> None:
    methods = [*COLOURS, *(f"m{index}" for index in range(count))]
    assert len(set(colours_of(methods).values())) == len(methods)


def test_variants_are_shades_of_their_methods_colour_from_dark_to_light() -> None:
    labels = [f"ether blocks={count}" for count in (1, 4, 16)] + ["lora"]
    styles = method_styles(labels, {label: label.split()[0] for label in labels})
    assert len({style.colour for style in styles.values()}) == 4 and styles["lora"].colour == COLOURS["lora"]
    seen = [lab(styles[label].colour, "normal") for label in labels[:3]]
    assert [each[0] for each in seen] == sorted(each[0] for each in seen)
    hues = [np.arctan2(each[2], each[1]) for each in seen]
    assert np.ptp(hues) < 0.5
    assert len({styles[label].line for label in labels[:3]}) == 3
    assert shades("#0072B2", 1) == ["#0072B2"]


def test_of_many_methods_the_first_and_the_proposed_stand_out() -> None:
    methods = ["boft", "ether", "ether_plus", *(f"m{index}" for index in range(6))]
    assert [name for name, style in styles_of(*methods).items() if not style.muted] == methods[:3]
    assert not any(style.muted for style in styles_of(*methods[:7]).values())


def test_a_highlight_leaves_all_others_grey() -> None:
    with looking(Look(highlight=("lora",))):
        styles = styles_of("ether", "lora", "oft")
    assert {name: style.colour for name, style in styles.items()} == {
        "ether": MUTED, "lora": COLOURS["lora"], "oft": MUTED
    }  # fmt: skip
    assert not any(style.muted for style in styles_of("ether", "lora", "oft").values())
