"""README, CONTRIBUTING and the pages of the documentation, in the order of the site's menu."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.paths import ROOT

BLOCK = re.compile(r"(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w+)\n(?P<text>.*?)```", re.S)
"""A code block; with a comment before it that names a file, it is that file's content."""


@dataclass(frozen=True)
class Block:
    file: str | None
    language: str
    text: str


@dataclass(frozen=True)
class Page:
    """A Markdown file, by its path in the project, or a part of one.

    Attributes:
        heading: where the part begins; empty for a whole file, or its first part.
        text: the Markdown.
    """

    path: str
    heading: str
    text: str

    @classmethod
    def read(cls, path: str) -> Page:
        return cls(path, "", (ROOT / path).read_text())

    def __str__(self) -> str:
        return f"{self.path}, {self.heading}" if self.heading else self.path

    @property
    def blocks(self) -> list[Block]:
        return [Block(**match.groupdict()) for match in BLOCK.finditer(self.text)]

    def parts(self) -> list[Page]:
        """The page cut before the headings that SPLIT_BEFORE has for it."""
        headings = SPLIT_BEFORE.get(self.path, ())
        parts, rest = [], self
        for heading in headings:
            before, mark, after = rest.text.partition(f"\n## {heading}\n")
            assert mark, f"{self.path} has no section {heading}"
            parts.append(Page(self.path, rest.heading, before))
            rest = Page(self.path, heading, after)
        return [*parts, rest]


SPLIT_BEFORE = {
    "CONTRIBUTING.md": ("A task", "A launcher"),
    "docs/tasks.md": ("Instruction tuning",),
    "docs/results.md": ("Measuring again",),
}
"""Long pages, and where a part begins that needs nothing of the one before."""


def nav_files(entry: Any = None) -> list[str]:
    """The files that the site's menu names, in its order."""
    if entry is None:
        # The configuration has tags that only mkdocs knows, none of them in the menu.
        menu = re.search(r"^nav:\n(?:[ -].*\n)+", (ROOT / "mkdocs.yml").read_text(), re.M)
        assert menu is not None
        entry = yaml.safe_load(menu.group())["nav"]
    if isinstance(entry, str):
        return [entry]
    return [
        file for part in (entry.values() if isinstance(entry, dict) else entry) for file in nav_files(part)
    ]


CONTRIBUTING_PAGE = "contributing.md"
"""The page of the site that is made of CONTRIBUTING.md."""


def pages() -> list[Page]:
    """Every document, README and CONTRIBUTING first."""
    menu = [f"docs/{name}" for name in nav_files() if name != CONTRIBUTING_PAGE]
    return [Page.read(path) for path in ("README.md", "CONTRIBUTING.md", *menu)]


def parts() -> list[Page]:
    """Every document, long ones in parts, in the same order."""
    return [part for page in pages() for part in page.parts()]


def command_lines(block: Block) -> list[str]:
    """The commands of a block of shell, without comments."""
    lines = [line.split("  #")[0].strip() for line in block.text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def steps(part: Page) -> list[Block | str]:
    """What a reader of the part would do, in its order.

    Programs to run (python), transcripts to check (console), changes to make (diff), and commands (bash). A
    command that stands further up, on this page or an earlier one, is left out: the test of that runs it.
    """
    known: set[str] = set()
    for earlier in parts():
        to_do: list[Block | str] = []
        for block in earlier.blocks:
            if block.file is None and block.language in ("python", "console", "diff"):
                to_do.append(block)
            elif block.language == "bash":
                new = [line for line in dict.fromkeys(command_lines(block)) if line not in known]
                to_do += new
                known |= set(new)
        if earlier == part:
            return to_do
    raise ValueError(str(part))


def change_files(diff: str, folder: Path) -> None:
    """Makes the changes of a diff without line numbers: `--- FILE`, then parts with `@@` between them.

    In a part, lines begin with a space (there, and stay), `-` (there, and go) or `+` (come). What is there
    must stand in the file once.
    """
    for change in diff.split("--- ")[1:]:
        name, _, rest = change.partition("\n")
        path, parts = folder / name.strip(), rest.split("@@\n")
        text = path.read_text()
        for part in parts:
            lines = part.splitlines()
            old, new = (
                "".join(line[1:] + "\n" for line in lines if line[:1] in kinds) for kinds in (" -", " +")
            )
            assert text.count(old) == 1, f"{name}: not there once:\n{old}"
            text = text.replace(old, new)
        path.write_text(text)


def files(page: Page) -> dict[Path, str]:
    """The files that the page, or the part of it, has its reader write."""
    return {Path(block.file): block.text for block in page.blocks if block.file}
