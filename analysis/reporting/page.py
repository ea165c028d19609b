"""A report: one HTML file that needs nothing else, made of a template and pictures."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader

TEMPLATES = Path(__file__).parent.parent / "templates"


@dataclass(frozen=True)
class Picture:
    """A drawn figure, as templates embed it."""

    path: Path  # of the PNG
    caption: str

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def data(self) -> str:
        """The PNG in base64."""
        return base64.b64encode(self.path.read_bytes()).decode()


def render_page(template: str, **values: Any) -> str:
    """The page of templates/`template`.html.j2; all text in `values` is escaped."""
    environment = Environment(loader=FileSystemLoader(TEMPLATES), autoescape=True)
    return environment.get_template(f"{template}.html.j2").render(**values)
