"""The documents hang together: links and pictures lead somewhere, names exist, README is a front door."""

from __future__ import annotations

import importlib
import re
import tomllib
from pathlib import Path

import pytest
import yaml
from support.documents import CONTRIBUTING_PAGE, Page, nav_files, pages
from support.paths import ROOT

LINK = re.compile(r"\]\(([^)\s]+)\)")
NAME = re.compile(r"`((?:study|analysis|benchmarks)(?:\.\w+)+)`")


def without_code(text: str) -> str:
    return re.sub(r"```.*?```", "", text, flags=re.S)


def anchors(path: Path) -> set[str]:
    """The headings of a document, as links name them."""
    headings = re.findall(r"^#+ (.*)$", without_code(path.read_text()), re.M)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in headings]
    return {re.sub(r"\s+", "-", heading) for heading in plain}


@pytest.mark.parametrize("page", pages(), ids=str)
def test_links_pictures_and_anchors_exist(page: Page) -> None:
    for target in LINK.findall(without_code(page.text)):
        if target.startswith("https://"):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page.path).parent / name if name else ROOT / page.path
        assert path.exists(), target
        assert not anchor or anchor in anchors(path), target


@pytest.mark.parametrize("page", pages(), ids=str)
def test_the_names_that_a_page_mentions_exist(page: Page) -> None:
    for name in NAME.findall(without_code(page.text)):
        module, *attributes = name.split(".")
        value = importlib.import_module(module)
        for attribute in attributes:
            module = f"{module}.{attribute}"
            try:
                value = getattr(value, attribute)
            except AttributeError:
                value = importlib.import_module(module)


def test_the_files_that_a_page_mentions_exist() -> None:
    for page in pages():
        for path in re.findall(r"`((?:study|analysis|sweeps|tests)/[a-z0-9_/]+\.(?:py|yaml))`", page.text):
            written_by_the_reader = any(block.file == path for block in page.blocks)
            assert written_by_the_reader or (ROOT / path).exists(), f"{page}: {path}"


def test_every_page_is_in_the_menu_and_nothing_else() -> None:
    files = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert files | {CONTRIBUTING_PAGE} == set(nav_files())
    assert len(nav_files()) == len(set(nav_files()))


def test_the_readme_is_a_front_door() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for page in ("getting-started", "sweeps", "data", "methods", "tasks", "slurm", "comparing", "evaluation",
                 "results", "reliability", "architecture", "schema", "tuners"):  # fmt: skip
        assert f"(docs/{page}.md" in text, page


def test_the_tree_in_the_readme_is_the_projects() -> None:
    text = (ROOT / "README.md").read_text()
    (tree,) = re.findall(r"```\n(study/ .*?)```", text, re.S)
    shown = {line.split("/")[0] for line in tree.splitlines()}
    beside = {"build"}
    there = {path.name for path in ROOT.iterdir() if path.is_dir() and path.name.isidentifier()} - beside
    assert shown == there


def test_the_floors_of_the_architecture_are_those_that_are_checked() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    page = (ROOT / "docs" / "architecture.md").read_text()
    (table,) = re.findall(r"^\| floor \|.*?\n\n", page, re.M | re.S)
    floors = [set(re.findall(r"`(\w+)`", row.split("|")[2])) for row in table.splitlines()[2:] if row]
    checked = [set(re.findall(r"\w+", layer)) for layer in layers]
    assert floors == [layer for layer in checked if layer != {"schema"}]  # storage's columns, by another name


def test_the_citation_names_project_and_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    (paper,) = citation["references"]
    assert citation["license"] == "Apache-2.0" and citation["title"].startswith("ether-study")
    assert [author["family-names"] for author in paper["authors"]] == ["Bini", "Roth", "Akata", "Khoreva"]
    assert paper["identifiers"][0]["value"] == "arXiv:2405.20271" and paper["year"] == 2024
