"""What the site has beside the files in `docs/`: pictures and CONTRIBUTING.md from elsewhere in the project,
and the columns of the tables, which are read from the code.

The pages can be read on a code host too, so they link to `../results/...` and `../CONTRIBUTING.md`; here those
links become the site's own.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PICTURE = re.compile(r"\]\((?:\.\./)?(results/[^)#]+)\)")
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
    """Makes links work inside the site, and fills in the tables that are made of code."""
    markdown = re.sub(r"\]\((?:\.\./)?docs/", "](", markdown)
    markdown = markdown.replace("](../results/", "](results/")
    markdown = re.sub(r"\]\((?:\.\./)?CONTRIBUTING\.md", "](contributing.md", markdown)
    markdown = re.sub(r"\]\((?:\.\./)?README\.md", "](index.md", markdown)
    return TABLE.sub(lambda match: table(match.group(1)), markdown)


def table(name: str) -> str:
    """One of `study.schema.TABLES`, or the figures of merit of robustness.csv, as a Markdown table."""
    from analysis.statistics.robustness import DEFINITIONS
    from study.schema import TABLES

    if name == "robustness":
        return _markdown(("column", "meaning"), [(f"`{key}`", text) for key, text in DEFINITIONS.items()])
    rows = [(f"`{column}`", kind, meaning) for column, (kind, meaning) in TABLES[name].items()]
    return _markdown(("column", "type", "meaning"), rows)


def _markdown(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *(tuple(cell.replace("|", "\\|") for cell in row) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
