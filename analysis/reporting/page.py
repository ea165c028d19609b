"""A report: one HTML file that needs nothing else, made of a template, pictures and a library of charts.

The library is plotly.js (MIT), the bundle of basic traces in analysis/templates/plotly: hover, zoom and touch
for 1.2 MB a page. The page is complete without JavaScript, with still pictures in place of charts.
"""

from __future__ import annotations

import base64
import os
import re
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from analysis.reporting.number_text import number_text

TEMPLATES = Path(__file__).parent.parent / "templates"

PLAIN_IN_DATA_URL = " !$'()*+,-./:;<=>?@[]^_{|}~"
"""What browsers take as it is in a data URL, and HTML in a quoted attribute."""

KEPT_AS = {".pdf": "PDF", ".svg": "SVG", ".png": "PNG", ".csv": "CSV"}


@dataclass(frozen=True)
class Link:
    text: str
    address: str  # relative to the report


@dataclass(frozen=True)
class Picture:
    """A drawn figure, as templates embed it."""

    path: Path  # of the PNG
    caption: str

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def data(self) -> Markup:
        """The picture as a data URL: vectors, or the PNG where there are none."""
        vector = self.path.with_suffix(".svg")
        if vector.is_file():  # as text: a third shorter than in base64
            text = vector.read_text(encoding="utf-8").replace('"', "'")
            return Markup(f"data:image/svg+xml,{quote(text, safe=PLAIN_IN_DATA_URL)}")
        return Markup(f"data:image/png;base64,{base64.b64encode(self.path.read_bytes()).decode()}")

    @property
    def chart(self) -> Markup | None:
        """What the chart shows, as JSON that may stand in a page; None where there is only the picture."""
        path = self.path.with_suffix(".json")
        return Markup(for_script(path.read_text(encoding="utf-8"))) if path.is_file() else None

    def files(self, report: Path) -> list[Link]:
        """The figure's files.

        Args:
            report: the folder that the report is in.
        """
        return links([self.path.with_suffix(kind) for kind in KEPT_AS], report)


def links(paths: list[Path], report: Path) -> list[Link]:
    """Those of the files that are there, as seen from the report's folder."""
    return [
        Link(path.name if path.parent == report else KEPT_AS[path.suffix], os.path.relpath(path, report))
        for path in paths
        if path.is_file()
    ]


def records(folder: Path) -> list[Link]:
    """The tables and the plan in a study's folder."""
    names = ("runs.parquet", "history.parquet", "layers.parquet", "plan.json", "robustness.csv", "pairs.csv")
    return [Link(name, name) for name in names if (folder / name).is_file()]


def render_page(template: str, folder: Path, **values: Any) -> str:
    """The page of templates/`template`.html.j2; all text in `values` is escaped.

    Args:
        folder: that the page is going to be in.
    """
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    environment.filters["number"] = number_text
    environment.filters["script"] = lambda name: Markup(script(name))
    return environment.get_template(f"{template}.html.j2").render(folder=folder, today=today(), **values)


def today() -> str:
    """The day, in UTC; that of SOURCE_DATE_EPOCH where a build is to be reproduced."""
    return time.strftime("%Y-%m-%d", time.gmtime(float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))))


@cache
def script(name: str) -> str:
    """A script of the templates' folder, as it may stand in a page."""
    text = (TEMPLATES / name).read_text(encoding="utf-8")
    if re.search(r"</script|<!--", text, re.IGNORECASE):
        raise ValueError(f"{name} cannot be embedded: it holds the end of a script")
    return text


def for_script(json_text: str) -> str:
    """JSON in which nothing ends a script."""
    return json_text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
