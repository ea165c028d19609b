"""What a portrait is composed of, and drawing it at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Literal

import numpy as np

from study.tasks.miniature.portraits.looks import COLORS, MOUTHS, NEW_COLORS, NEW_SPRITES, sprite_names

Pool = Literal["base", "all"]
"""What is drawn from: what the base model is pretrained on, or everything."""

NONE = -1
"""In the place of a sprite's number: nothing is painted."""

SUBJECTS = 24
BALD, WITH_GLASSES, WITH_BEARD, WITH_HAT = 0.08, 0.4, 0.2, 0.25
"""Shares of portraits."""


@dataclass(frozen=True)
class Attributes:
    """Of each portrait the numbers of its sprites and colours, each (rows,), int64.

    A colour's number is its place in COLORS; one of something that is not there is never seen.
    """

    skin: np.ndarray
    hair: np.ndarray
    hair_color: np.ndarray
    clothing: np.ndarray
    clothing_color: np.ndarray
    eyes: np.ndarray
    eye_color: np.ndarray
    mouth: np.ndarray
    glasses: np.ndarray
    beard: np.ndarray
    hat: np.ndarray
    hat_color: np.ndarray
    background: np.ndarray

    def __len__(self) -> int:
        return len(self.skin)

    def __getitem__(self, rows: np.ndarray | slice) -> Attributes:
        return Attributes(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @classmethod
    def concatenate(cls, parts: Sequence[Attributes]) -> Attributes:
        return cls(
            **{field.name: np.concatenate([getattr(p, field.name) for p in parts]) for field in fields(cls)}
        )


def colors_of(thing: str, pool: Pool) -> np.ndarray:
    """Numbers of the colours that a pool has of a thing."""
    new = NEW_COLORS.get(thing, ()) if pool == "base" else ()
    return np.array([number for number, name in enumerate(COLORS[thing]) if name not in new])


def sprites_of(group: str, pool: Pool) -> np.ndarray:
    """Numbers of the sprites that a pool has of a group."""
    new = NEW_SPRITES.get(group, ()) if pool == "base" else ()
    return np.array([number for number, name in enumerate(sprite_names(group)) if name not in new])


def mouths_of(expression: str) -> np.ndarray:
    """Numbers of the mouths of an expression."""
    return np.array([sprite_names("mouth").index(name) for name in MOUTHS[expression]])


def draw(generator: np.random.Generator, count: int, pool: Pool) -> Attributes:
    """Random portraits; each expression, kind of glasses and colour is as frequent as its siblings."""

    def some(group: str, share: float) -> np.ndarray:
        there = generator.random(count) < share
        return np.where(there, generator.choice(sprites_of(group, pool), count), NONE)

    def color(thing: str) -> np.ndarray:
        return generator.choice(colors_of(thing, pool), count)

    mouths = np.stack([generator.choice(mouths_of(expression), count) for expression in MOUTHS])
    return Attributes(
        skin=color("skin"),
        hair=some("hair", 1 - BALD),
        hair_color=color("hair"),
        clothing=generator.choice(sprites_of("clothing", pool), count),
        clothing_color=color("clothes"),
        eyes=generator.choice(sprites_of("eyes", pool), count),
        eye_color=color("eyes"),
        mouth=mouths[generator.integers(len(MOUTHS), size=count), np.arange(count)],
        glasses=some("glasses", WITH_GLASSES),
        beard=some("beard", WITH_BEARD),
        hat=some("hat", WITH_HAT),
        hat_color=color("hat"),
        background=color("background"),
    )


def subjects() -> Attributes:
    """The SUBJECTS new persons, always the same: each with a new hair style, new clothes or both.

    Its hair, clothes and skin have colours that the base model never saw together, one of them at least
    never at all. None wears a hat or glasses, which are contexts.
    """
    generator = np.random.default_rng(0)
    drawn = draw(generator, SUBJECTS, "all")
    new = {group: np.setdiff1d(sprites_of(group, "all"), sprites_of(group, "base")) for group in NEW_SPRITES}
    old = {group: sprites_of(group, "base") for group in NEW_SPRITES}
    number = np.arange(SUBJECTS)
    nothing = np.full(SUBJECTS, NONE)

    def pick(group: str, is_new: np.ndarray) -> np.ndarray:
        return np.where(
            is_new, generator.choice(new[group], SUBJECTS), generator.choice(old[group], SUBJECTS)
        )

    new_colors = {
        thing: np.setdiff1d(colors_of(thing, "all"), colors_of(thing, "base")) for thing in NEW_COLORS
    }
    hair_color = np.where(number % 2 == 0, generator.choice(new_colors["hair"], SUBJECTS), drawn.hair_color)
    clothing_color = np.where(
        number % 2 == 1, generator.choice(new_colors["clothes"], SUBJECTS), drawn.clothing_color
    )
    return Attributes(
        **{
            **{field.name: getattr(drawn, field.name) for field in fields(drawn)},
            "hair": pick("hair", number % 3 != 1),
            "clothing": pick("clothing", number % 3 != 2),
            "hair_color": hair_color,
            "clothing_color": clothing_color,
            "glasses": nothing,
            "hat": nothing,
        }
    )
