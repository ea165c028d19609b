"""The site builds without a warning, loads nothing from elsewhere, and has the schema as the code says it."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from support.paths import ROOT

from study.schema import TABLES

pytestmark = pytest.mark.slow

LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src"}
"""What a browser loads without being asked, by the tag and its attribute."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    pytest.importorskip("mkdocs", reason="needs the extra [docs]")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    assert built.returncode == 0, built.stderr
    yield folder


class Loaded(HTMLParser):
    """Collects what a page loads."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        address = dict(attributes).get(LOADS.get(tag, ""))
        if address:
            self.addresses.append(address)


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    count = 0
    for page in site.rglob("*.html"):
        for address in Loaded(page.read_text()).addresses:
            assert not re.match(r"(\w+:)?//", address), f"{page.name}: {address}"
            if not address.startswith("data:"):
                target = page.parent / address.split("?")[0].split("#")[0]
                assert page.name == "404.html" or target.exists(), f"{page.name}: {address}"
            count += 1
    assert count > 100
    for style in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*[\"']?(https?:)?//", style.read_text()), style


def test_the_schema_page_has_every_column(site: Path) -> None:
    page = (site / "schema.html").read_text()
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    assert "<!-- table" not in page
    for name, columns in TABLES.items():
        start = page.index(f'<h2 id="{name}">')
        section = html.unescape(re.sub(r"<[^>]+>", "", page[start:].split("<h2", 2)[1]))
        for column, (kind, meaning) in columns.items():
            assert column in section and kind in section
            assert meaning.replace("`", "").replace("<", "") in text.replace("<", "")


def test_the_reference_and_contributing_are_there(site: Path) -> None:
    reference = (site / "reference.html").read_text()
    for name in (
        "study.tasks.Task",
        "study.methods.multiplicative.MultiplicativeLayer",
        "analysis.table.load",
    ):
        assert f'id="{name}"' in reference
    assert "A newcomer" in (site / "architecture.html").read_text()
    contributing = (site / "contributing.html").read_text()
    assert 'id="a-method"' in contributing and '<span class="filename">scaling.py</span>' in contributing


def test_the_search_works_from_files(site: Path) -> None:
    assert (site / "search" / "search_index.js").read_text().startswith("var __index = {")
    assert (site / "assets" / "iframe-worker.js").exists()
