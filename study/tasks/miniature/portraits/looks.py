"""What portraits are chosen from: colours by name, sprites by look, and which of them the base never saw."""

from __future__ import annotations

from study.tasks.miniature.portraits.sprites import sprites

COLORS: dict[str, dict[str, str]] = {
    "skin": {
        "light": "ffdbac", "tan": "d9a066", "brown": "a26d3d", "dark": "5c3a21",
        "violet": "b39ddb", "mint": "9ad6b0",
    },
    "hair": {
        "black": "1c1512", "brown": "6b3f1d", "blond": "e3c15e", "red": "b5401a", "grey": "a9a9b2",
        "blue": "2f5fd0", "lime": "a4de02", "purple": "7b2fb5",
    },
    "clothes": {
        "red": "d11141", "blue": "2f7fd6", "green": "00a152", "yellow": "ffc425", "white": "e6e6e6",
        "orange": "ff7a2f", "purple": "6a3fa0", "black": "26262b", "turquoise": "1fc7c1",
    },
    "hat": {"red": "b3202a", "green": "2e7d4f", "blue": "2a5da8", "pink": "dd5f9b"},
    "eyes": {"brown": "5b3a1e", "blue": "3f7fbf", "green": "4f8f5b"},
    "background": {
        "pink": "f4a6c0", "blue": "7fb2e5", "green": "8cc084", "grey": "8c8c94", "white": "f5f2ea",
        "navy": "1d2145", "teal": "2a9d8f",
    },
}  # fmt: skip
"""Of each thing that has a colour, the colours by name, RRGGBB."""

MOUTH, FRAME = "b5403c", "2b2b2b"
"""Colours of all mouths and of all frames of glasses."""

NEW_COLORS = {"skin": ("violet", "mint"), "hair": ("lime", "purple"), "clothes": ("black", "turquoise")}
NEW_SPRITES = {
    "hair": ("long03", "long08", "long15", "short11", "short12", "short18"),
    "clothing": ("variant06", "variant12", "variant13", "variant22"),
}
"""What the base model never saw, so that new subjects can be made of it."""

MOUTHS = {
    "smiling": ("happy06", "happy07", "happy08", "happy09", "happy10", "happy11", "happy12", "happy13"),
    "frowning": ("sad01", "sad02", "sad08", "sad09"),
    "serious": ("sad04", "sad05", "sad06", "sad07"),
}
"""Sprites of mouths by expression. Those that would be called neither are not used."""

LONG_FROM = 9
"""Hair is long when it reaches this row of pixels, the mouth's upper one."""

LOOKS: dict[str, tuple[str, ...]] = {
    "skin": tuple(COLORS["skin"]),
    "hair": ("bald", "short", "long"),
    "hair color": tuple(COLORS["hair"]),
    "shirt color": tuple(COLORS["clothes"]),
    "expression": tuple(MOUTHS),
    "glasses": ("none", "light", "dark"),
    "beard": ("none", "beard"),
    "hat": ("none", *COLORS["hat"]),
    "background": tuple(COLORS["background"]),
}
"""What a caption can say of a portrait, and what of each."""


def sprite_names(group: str) -> tuple[str, ...]:
    """Names of a group's sprites, in the order of their numbers."""
    return tuple(sprite.name for sprite in sprites(group))


def is_long(hair: int) -> bool:
    """Whether hair of this number reaches the mouth."""
    return bool(sprites("hair")[hair].covers[LONG_FROM:].any())
