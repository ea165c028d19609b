"""Portraits are what their attributes, maps and captions say."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from study.tasks.miniature.portraits import (
    HIDDEN,
    LOOKS,
    PARTS,
    Attributes,
    Portraits,
    of_attributes,
    portraits,
    shifted,
    subjects,
    unshifted,
)
from study.tasks.miniature.portraits.looks import COLORS, FRAME, MOUTH, NEW_COLORS, NEW_SPRITES, sprite_names
from study.tasks.miniature.portraits.sprites import BLACK, SIZE, WHITE, layers

PAINTED = ("skin", "clothes", "eyes", "glasses", "beard", "mouth", "hair", "hat")


@pytest.fixture(scope="module")
def drawn() -> Portraits:
    return portraits(0, 300, pool="all")


def one(**changes: str) -> Portraits:
    """A light bald person with a plain red shirt before white, changed as named."""
    names = {
        "skin": "light", "hair": "", "hair_color": "black", "clothing": "variant04", "clothing_color": "red",
        "eyes": "variant09", "eye_color": "blue", "mouth": "sad06", "glasses": "", "beard": "", "hat": "",
        "hat_color": "red", "background": "white", **changes,
    }  # fmt: skip
    known = {
        "skin": COLORS["skin"], "hair": sprite_names("hair"), "hair_color": COLORS["hair"],
        "clothing": sprite_names("clothing"), "clothing_color": COLORS["clothes"],
        "eyes": sprite_names("eyes"), "eye_color": COLORS["eyes"], "mouth": sprite_names("mouth"),
        "glasses": sprite_names("glasses"), "beard": sprite_names("beard"), "hat": sprite_names("hat"),
        "hat_color": COLORS["hat"], "background": COLORS["background"],
    }  # fmt: skip
    numbers = {field: list(known[field]).index(name) if name else -1 for field, name in names.items()}
    return of_attributes(Attributes(**{field: np.array([number]) for field, number in numbers.items()}))


def painted_by_hand(attributes: dict[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture and its map, pixel by pixel and layer by layer."""

    def color(thing: str, field: str) -> str:
        return list(COLORS[thing].values())[attributes[field]]

    fills = {
        "skin": color("skin", "skin"), "clothing": color("clothes", "clothing_color"),
        "eyes": color("eyes", "eye_color"), "glasses": FRAME, "hair": color("hair", "hair_color"),
        "mouth": MOUTH, "hat": color("hat", "hat_color"), WHITE: "ffffff", BLACK: "000000",
    }  # fmt: skip
    picture = np.empty((3, SIZE, SIZE))
    picture[:] = np.array(list(bytes.fromhex(color("background", "background"))))[:, None, None]
    parts = np.zeros((SIZE, SIZE), dtype=int)
    groups = ("body", "clothing", "eyes", "glasses", "beard", "mouth", "hair", "hat")
    for part, group in zip(PAINTED, groups, strict=True):
        number = 0 if group == "body" else attributes[group]
        if number < 0:
            continue
        for layer in list(layers()[group].values())[number]:
            paint = list(bytes.fromhex(fills[layer.fill]))
            for y, x in zip(*np.nonzero(layer.mask()), strict=True):
                for channel in range(3):
                    beneath = picture[channel, y, x]
                    picture[channel, y, x] = beneath + layer.opacity * (paint[channel] - beneath)
                if layer.opacity == 1:
                    parts[y, x] = PARTS.index(part)
    return picture, parts


def test_pictures_and_maps_are_those_painted_layer_by_layer(drawn: Portraits) -> None:
    for row in range(40):
        attributes = {name: int(values[row]) for name, values in asdict(drawn.attributes).items()}
        picture, parts = painted_by_hand(attributes)
        assert np.abs((drawn.pictures[row].numpy() + 1) * 127.5 - picture).max() <= 0.501, row
        assert (drawn.maps[row].numpy() == parts).all(), row


def test_a_portrait_by_hand() -> None:
    portrait = one(hair="short16", hair_color="blue", background="navy")
    assert portrait.captions == [
        "a person with light skin, short blue hair and a red shirt, looking serious, on a navy background"
    ]
    pixels = ((portrait.pictures[0] + 1) * 127.5).round().int()
    for (y, x), part, color in (
        ((0, 0), "background", "1d2145"), ((1, 4), "hair", "2f5fd0"), ((15, 3), "clothes", "d11141"),
        ((9, 6), "mouth", MOUTH), ((6, 5), "eyes", "3f7fbf"),
    ):  # fmt: skip
        assert PARTS[portrait.maps[0, y, x]] == part
        assert bytes(pixels[:, y, x].tolist()).hex() == color


@pytest.mark.parametrize(
    ("changes", "caption"),
    [
        ({}, "a person with light skin, no hair and a red shirt, looking serious, on a white background"),
        (
            {"hair": "long07", "hair_color": "blond", "clothing_color": "orange", "mouth": "happy09"},
            "a person with light skin, long blond hair and an orange shirt, smiling, on a white background",
        ),
        (
            {"hair": "short16", "hat": "variant01", "mouth": "sad01"},
            "a person with light skin and a red shirt, frowning, with a red hat, on a white background",
        ),
        (
            {"hair": "long07", "hat": "variant01", "glasses": "dark05", "beard": "variant05"},
            "a person with light skin, long black hair and a red shirt, looking serious, with dark glasses,"
            " a beard and a red hat, on a white background",
        ),
        (
            {"hat": "variant01", "glasses": "light05"},
            "a person with light skin and a red shirt, looking serious, with glasses and a red hat,"
            " on a white background",
        ),
    ],
)
def test_captions_say_what_is_seen(changes: dict[str, str], caption: str) -> None:
    """Neither hair under a hat nor that there is none; and no word on which sprite it is."""
    assert one(**changes).captions == [caption]


def test_looks_are_what_the_picture_shows(drawn: Portraits) -> None:
    looks = dict(zip(LOOKS, drawn.looks.unbind(1), strict=True))
    shown = {part: (drawn.maps == number).sum((1, 2)) for number, part in enumerate(PARTS)}
    assert ((looks["hair color"] == HIDDEN) == (shown["hair"] < 2)).all()
    assert ((looks["hat"] > 0) == (shown["hat"] > 0)).all()
    assert ((looks["beard"] > 0) == (shown["beard"] > 0)).all()
    assert (looks["glasses"][shown["glasses"] > 0] > 0).all()
    for part in ("background", "skin", "clothes", "mouth", "eyes"):
        assert (shown[part] > 0).all(), part
    below_the_mouth = (drawn.maps[:, 9:] == PARTS.index("hair")).sum((1, 2)) > 0
    assert (below_the_mouth <= (looks["hair"] == LOOKS["hair"].index("long"))).all()


def seen(of: Portraits) -> set[bytes]:
    return {picture.numpy().tobytes() for picture in of.pictures}


def test_no_picture_is_in_two_splits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is drawn again and again: here all seeds draw from the same 60 portraits."""
    few = portraits(0, 60).attributes

    def draw_from_few(generator: np.random.Generator, count: int, pool: str) -> Attributes:
        return few[generator.integers(len(few), size=count)]

    monkeypatch.setattr("study.tasks.miniature.portraits.draw", draw_from_few)
    monkeypatch.setattr(
        "study.tasks.miniature.portraits.SHARES",
        {"train": range(4), "valid": range(4, 7), "test": range(7, 8)},
    )
    splits = [seen(portraits(seed, 300, split)) for seed, split in enumerate(("train", "valid", "test"))]
    assert sum(map(len, splits)) == len(set().union(*splits)) == len(seen(of_attributes(few)))


def test_pictures_depend_on_the_seed_alone() -> None:
    first, again, other = portraits(3, 50), portraits(3, 50), portraits(4, 50)
    assert torch.equal(first.pictures, again.pictures) and first.captions == again.captions
    assert not seen(first) & seen(other)


def test_the_base_model_never_sees_what_is_new(drawn: Portraits) -> None:
    base = portraits(0, 3000)
    for attribute, thing, new in [
        *((thing, thing, names) for thing, names in NEW_SPRITES.items()),
        ("skin", "skin", NEW_COLORS["skin"]),
        ("hair_color", "hair", NEW_COLORS["hair"]),
        ("clothing_color", "clothes", NEW_COLORS["clothes"]),
    ]:
        known = sprite_names(thing) if thing in NEW_SPRITES and attribute == thing else tuple(COLORS[thing])
        numbers = [known.index(name) for name in new]
        assert not np.isin(getattr(base.attributes, attribute), numbers).any(), attribute
        assert np.isin(getattr(drawn.attributes, attribute), numbers).any(), attribute
        old = set(range(len(known))) - set(numbers)
        assert old <= set(getattr(base.attributes, attribute).tolist()), attribute
    words = {word.strip(",") for caption in base.captions for word in caption.split()}
    assert not words & {"violet", "mint", "lime", "turquoise"}


def test_subjects_are_new() -> None:
    persons = subjects()
    assert len(persons) >= 20 and len(seen(of_attributes(persons))) == len(persons)
    new_sprites = np.stack(
        [
            np.isin(getattr(persons, group), [sprite_names(group).index(name) for name in names])
            for group, names in NEW_SPRITES.items()
        ]
    )
    new_colors = np.stack(
        [
            np.isin(
                getattr(persons, attribute), [list(COLORS[thing]).index(name) for name in NEW_COLORS[thing]]
            )
            for attribute, thing in (("hair_color", "hair"), ("clothing_color", "clothes"))
        ]
    )
    assert new_sprites.any(0).all() and new_colors.any(0).all()
    assert (persons.hat == -1).all() and (persons.glasses == -1).all()
    again = subjects()
    assert all((values == asdict(again)[name]).all() for name, values in asdict(persons).items())


def test_shifted_portraits_are_turned_and_inverted_with_their_maps(drawn: Portraits) -> None:
    turned = shifted(drawn)
    assert torch.equal(unshifted(turned.pictures), drawn.pictures)
    for y, x in ((0, 0), (3, 7), (15, 2)):  # to the left by a quarter: the last column becomes the first row
        assert torch.equal(turned.pictures[:, :, y, x], -drawn.pictures[:, :, x, 15 - y])
        assert torch.equal(turned.maps[:, y, x], drawn.maps[:, x, 15 - y])
    assert turned.captions == drawn.captions


def test_a_split_or_pool_that_there_is_not() -> None:
    with pytest.raises(ValueError, match="split=validation"):
        portraits(0, 1, "validation")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="pool=new"):
        portraits(0, 1, pool="new")  # type: ignore[arg-type]
