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
    """A Markdown file, by its path in the project."""

    path: str

    def __str__(self) -> str:
        return self.path

    @property
    def text(self) -> str:
        return (ROOT / self.path).read_text()

    @property
    def blocks(self) -> list[Block]:
        return [Block(**match.groupdict()) for match in BLOCK.finditer(self.text)]


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
    menu = [name for name in nav_files() if name != CONTRIBUTING_PAGE]
    return [Page("README.md"), Page("CONTRIBUTING.md"), *(Page(f"docs/{name}") for name in menu)]


def command_lines(block: Block) -> list[str]:
    """The commands of a block of shell, without comments."""
    lines = [line.split("  #")[0].strip() for line in block.text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def steps(page: Page) -> list[Block | str]:
    """What a reader of the page would do, in its order.

    Programs to run (python), transcripts to check (console), changes to make (diff), and commands (bash).

    A command that an earlier page has is left out: the test of that page runs it.
    """
    seen: set[str] = set()
    for earlier in pages():
        found: list[Block | str] = []
        for block in earlier.blocks:
            if block.file is None and block.language in ("python", "console", "diff"):
                found.append(block)
            elif block.language == "bash":
                new = [line for line in dict.fromkeys(command_lines(block)) if line not in seen]
                found += new
                seen |= set(new)
        if earlier == page:
            return found
    raise ValueError(page.path)


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
    """The files that the page has its reader write."""
    return {Path(block.file): block.text for block in page.blocks if block.file}
