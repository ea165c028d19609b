"""Smaller SVG files: matplotlib repeats every style for every marker, and writes six decimals of a point."""

from __future__ import annotations

import re

STYLE = re.compile(r' style="([^"]*)"')
DECIMALS = re.compile(r"(\d\.\d\d)\d+")
COORDINATES = re.compile(r'(?<= [dxy])="[^"]*"')


def shorter(svg: str) -> str:
    """The same picture: styles as classes, coordinates to a hundredth of a point, no indentation."""
    classes: dict[str, str] = {}

    def named(found: re.Match[str]) -> str:
        return f' class="{classes.setdefault(found[1], f"s{len(classes)}")}"'

    text = STYLE.sub(named, svg)
    text = COORDINATES.sub(lambda found: DECIMALS.sub(r"\1", found.group()), text)
    rules = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    return re.sub(r"\n\s*", "\n", text.replace("</style>", f"{rules}</style>", 1))
