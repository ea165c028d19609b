"""English prose that ships with the project: CPython's language reference and its library's docstrings.

Extracted once, from CPython 3.11.7 (its licence is PROSE-LICENSE, beside the file), so that nothing depends
on the Python that runs. `study.pretraining.prose` is what extracted it.
"""

from __future__ import annotations

import gzip
import re
from pathlib import Path

FILE = Path(__file__).parent / "prose.txt.gz"
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def paragraphs(file: Path = FILE) -> list[tuple[str, str]]:
    """(source, text) of each paragraph, in reading order; source: `reference/TOPIC` or `library/MODULE`."""
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").split("\t") for line in lines]
    return [(source, text) for source, text in pairs]
