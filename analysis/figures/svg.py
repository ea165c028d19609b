"""Smaller SVG files: matplotlib repeats every style for every marker, and writes six decimals of a point."""

from __future__ import annotations

import re

STYLE = re.compile(r' style="([^"]*)"')
COMMENTS = re.compile(r"<!--.*?-->", re.S)
GROUP_NAMES = re.compile(r'(?<=<g) id="[^"]*"')
"""Nothing in a picture refers to them, as it does to the names of shapes."""
SHAPE_NAMES = re.compile(r'(?<= id=")[^"]*|(?<=href="#)[^"]*|(?<=url\(#)[^)]*')
SHIFT = re.compile(r'transform="translate\((\S+)(?: (\S+))?\)"(?=/>)')
COORDINATES = re.compile(r'(?<= [dxy])="[^"]*"')
DECIMALS = re.compile(r"(\d\.\d\d)\d+")
ZEROS = re.compile(r"(\.\d*?)0+(?=[^\d])")
GAPS = re.compile(r'\s*([MLQCz"])\s*')
BETWEEN_TAGS = re.compile(r">\s+<")


def shorter(svg: str) -> str:
    """The same picture: styles as classes, short names, coordinates to a hundredth of a point, no gaps."""
    classes: dict[str, str] = {}
    names: dict[str, str] = {}

    def styled(found: re.Match[str]) -> str:
        return f' class="{classes.setdefault(found[1], f"s{len(classes)}")}"'

    def named(found: re.Match[str]) -> str:
        return names.setdefault(found[0], f"i{len(names)}")

    def placed(found: re.Match[str]) -> str:
        return f'x="{found[1]}"' + (f' y="{found[2]}"' if found[2] else "")

    def rounded(found: re.Match[str]) -> str:
        short = ZEROS.sub(lambda zeros: zeros[1].rstrip("."), DECIMALS.sub(r"\1", found[0]))
        return GAPS.sub(r"\1", short)

    text = GROUP_NAMES.sub("", COMMENTS.sub("", svg[svg.index("<svg") :]))
    text = STYLE.sub(styled, SHAPE_NAMES.sub(named, text)).replace("xlink:href", "href")
    text = COORDINATES.sub(rounded, SHIFT.sub(placed, text))
    rules = "".join(f".{name}{{{style}}}" for style, name in classes.items())
    return BETWEEN_TAGS.sub("><", text.replace("</style>", f"{rules}</style>", 1))
