"""Takes the sprites of the pixel portraits from the npm package that they come from.

    npm pack @dicebear/pixel-art@9.4.3 && tar xzf dicebear-pixel-art-9.4.3.tgz
    python -m study.pretraining.sprites --package package --out sprites.json

A sprite is a list of layers, [path, fill, opacity, rule]: an SVG path on a grid of 16 by 16, a colour
(`#fff`, `#000`, or the name of one that is chosen per portrait), and the rule that fills it. Of sprites
that paint the same, the first is kept. Earrings are left out: they are one or two pixels.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from study.tasks.miniature.portraits.sprites import Layer, Sprite

GROUPS = ("clothing", "eyes", "glasses", "beard", "mouth", "hair", "hat")
SPRITE = re.compile(r"^ {4}(\w+): \(components, colors\) => `(.*)`,$", re.M)
BODY = re.compile(r"body: `(.*?)\$\{\(_b")
COLOR = re.compile(r"\$\{escape\.xml\(`\$\{colors\.(\w+)\}`\)\}")


def layers(markup: str) -> list[Layer]:
    """The layers of a sprite's SVG markup, in which chosen colours stand by their names.

    A group that is seen through a mask (the beards) is painted through the mask's path at full strength:
    SVG would weigh it with the brightness of the hair, so that dark beards would be invisible.
    """
    root = ElementTree.fromstring("<svg>" + COLOR.sub(r"\1", markup) + "</svg>")
    masks = {f"url(#{mask.attrib['id']})": mask[0].attrib["d"] for mask in root.iter("mask")}
    found = []
    for parent in [root, *root.iter("g")]:
        for element in parent:
            if element.tag == "path":
                attributes = {**parent.attrib, **element.attrib}
                found.append(
                    Layer(
                        path=masks.get(attributes.get("mask", ""), attributes["d"]),
                        fill=attributes["fill"],
                        opacity=float(attributes.get("fill-opacity", 1)),
                        rule=attributes.get("fill-rule", "nonzero"),
                    )
                )
    return found


def groups(package: Path) -> Iterator[tuple[str, dict[str, list[Layer]]]]:
    """Of each group of sprites, its name and the layers of each sprite."""
    (body,) = BODY.findall((package / "lib" / "index.js").read_text())
    yield "body", {"person": layers(body)}
    for group in GROUPS:
        text = (package / "lib" / "components" / f"{group}.js").read_text()
        sprites = {name: layers(markup) for name, markup in sorted(SPRITE.findall(text))}
        painted: dict[bytes, str] = {}
        for name, of_sprite in sprites.items():
            painted.setdefault(Sprite.of(name, of_sprite).planes.tobytes(), name)
        yield group, {name: sprites[name] for name in painted.values()}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m study.pretraining.sprites",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--package", type=Path, required=True, metavar="FOLDER", help="the npm package, unpacked"
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE",
        help="where they go; a file that is there is replaced",
    )  # fmt: skip
    arguments = parser.parse_args()
    if not (arguments.package / "lib" / "index.js").is_file():
        parser.error(f"--package={arguments.package}: no lib/index.js in it; give the unpacked npm package")
    if arguments.out.is_dir():
        parser.error(f"--out={arguments.out} is a folder; give a file")
    lines = []
    for group, sprites in groups(arguments.package):
        of_group = [
            f"    {json.dumps(name)}: {json.dumps([[e.path, e.fill, e.opacity, e.rule] for e in of_sprite])}"
            for name, of_sprite in sprites.items()
        ]
        lines.append(f"  {json.dumps(group)}: {{\n" + ",\n".join(of_group) + "\n  }")
    arguments.out.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{arguments.out}: {sum(line.count('[[') for line in lines)} sprites")


if __name__ == "__main__":
    main()
