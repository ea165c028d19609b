"""What the site has beside the files in `docs/`: pictures and CONTRIBUTING.md from elsewhere in the project,
and the columns of the tables and the settings, which are read from the code.

The pages can be read on a code host too, so they link to `../results/...`, `../study/...` and
`../CONTRIBUTING.md`; here those links become the site's own.
"""

from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PICTURE = re.compile(r"\]\((?:\.\./)?((?:results|study)/[^)#]+)\)")
FILE = re.compile(r"<!-- file: (\S+) -->\n```(\w+)\n")
TABLE = re.compile(r"<!-- table: (\w+) -->")

sys.path.insert(0, str(ROOT))


def on_files(files: Files, config: Any) -> Files:
    """Adds CONTRIBUTING.md as a page, and every picture that a page shows."""
    contributing = (ROOT / "CONTRIBUTING.md").read_text()
    pages = [contributing, *(page.content_string for page in files.documentation_pages())]
    for path in sorted({picture for page in pages for picture in PICTURE.findall(page)}):
        files.append(File.generated(config, path, abs_src_path=str(ROOT / path)))
    files.append(File.generated(config, "contributing.md", content=contributing))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Makes links work inside the site, names files over their content, and fills in tables made of code."""
    markdown = re.sub(r"\]\((?:\.\./)?docs/", "](", markdown)
    markdown = re.sub(r"\]\(\.\./(results|study)/", r"](\1/", markdown)
    markdown = re.sub(r"\]\((?:\.\./)?CONTRIBUTING\.md", "](contributing.md", markdown)
    markdown = re.sub(r"\]\((?:\.\./)?README\.md", "](index.md", markdown)
    markdown = FILE.sub(r'```\2 title="\1"\n', markdown)
    return TABLE.sub(lambda match: table(match.group(1)), markdown)


def table(name: str) -> str:
    """A Markdown table: one of `study.schema.TABLES`, a class of `study.settings`, or `robustness`."""
    from analysis.statistics.robustness import DEFINITIONS
    from study import settings
    from study.schema import TABLES

    if name == "robustness":
        return _markdown(("column", "meaning"), [(f"`{key}`", text) for key, text in DEFINITIONS.items()])
    if name in TABLES:
        rows = [(f"`{column}`", kind, meaning) for column, (kind, meaning) in TABLES[name].items()]
        return _markdown(("column", "type", "meaning"), rows)
    prefix = {"TaskSettings": "task.", "LauncherSettings": "launcher.", "SweepSettings": ""}[name]
    described = [
        (f"`{prefix}{field.name}`", _default(field), settings.about(field))
        for field in dataclasses.fields(getattr(settings, name))
        if "about" in field.metadata  # not where a field is a group of settings
    ]
    rows = [(key, default, about.help, _values(about)) for key, default, about in described]
    return _markdown(("key", "default", "meaning", "values"), rows)


def _default(field: dataclasses.Field[Any]) -> str:
    """As it would be written in YAML; nothing where a sweep or task must say it."""
    value = field.default_factory() if callable(field.default_factory) else field.default
    words = {None: "null", True: "true", False: "false"}
    text = words[value] if value is None or isinstance(value, bool) else str(value)
    return "" if text == "???" else f"`{text}`"


def _values(about: Any) -> str:
    """What a setting may be, in words."""
    if about.choices:
        return ", ".join(f"`{choice}`" for choice in about.choices)
    bounds = {"above": about.above, "at least": about.at_least, "at most": about.at_most}
    return ", ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
