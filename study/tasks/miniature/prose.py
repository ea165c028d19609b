"""English prose that ships with the project: CPython's language reference and its library's docstrings.

Extracted once, from CPython 3.11.7 (its licence is PROSE-LICENSE, beside the file), so that nothing depends
on the Python that runs. `python -m study.tasks.miniature.prose` extracts it from the Python that runs it.
"""

from __future__ import annotations

import ast
import gzip
import re
import sysconfig
from pathlib import Path

FILE = Path(__file__).parent / "prose.txt.gz"
SENTENCE_END = re.compile(r"(?<=[.!?])\s+(?=[A-Z])")


def paragraphs() -> list[tuple[str, str]]:
    """(source, text) of each paragraph, in reading order; source: `reference/TOPIC` or `library/MODULE`."""
    with gzip.open(FILE, "rt", encoding="utf-8") as lines:
        pairs = [line.rstrip("\n").split("\t") for line in lines]
    return [(source, text) for source, text in pairs]


def sentences(shortest: int, longest: int) -> list[tuple[int, str, str]]:
    """(paragraph number, source, sentence) of every sentence with so many words; no sentence twice."""
    seen: set[str] = set()
    found = []
    for number, (source, text) in enumerate(paragraphs()):
        for sentence in SENTENCE_END.split(text):
            if (
                shortest <= len(sentence.split()) <= longest
                and sentence not in seen
                and sentence[-1] in ".!?"
            ):
                seen.add(sentence)
                found.append((number, source, sentence))
    return found


def _is_prose(text: str) -> bool:
    """A paragraph of English sentences rather than code, a table or a list of names."""
    letters = sum(c.isalpha() or c.isspace() for c in text)
    return (
        len(text.split()) >= 6
        and letters / len(text) > 0.88
        and text[0].isupper()
        and text[-1] in ".!?:"
        and ">>>" not in text
    )


def _extracted() -> list[tuple[str, str]]:
    from pydoc_data import topics

    found = [(f"reference/{name}", body) for name, body in sorted(topics.topics.items())]
    library = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(library.rglob("*.py")):
        module = file.relative_to(library).with_suffix("").as_posix().replace("/", ".")
        if module.split(".")[0] in (
            "test",
            "site-packages",
            "dist-packages",
            "pydoc_data",
            "idlelib",
            "lib2to3",
        ):
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found.append((f"library/{module}", ast.get_docstring(node) or ""))
    kept: dict[str, str] = {}
    for source, body in found:
        for part in re.split(r"\n\s*\n", body):
            text = " ".join(part.lstrip(" *-\n").split()).replace("\t", " ")
            if text and text.isascii() and _is_prose(text):
                kept.setdefault(text, source)
    return [(source, text) for text, source in kept.items()]


if __name__ == "__main__":
    content = "".join(f"{source}\t{text}\n" for source, text in _extracted())
    FILE.write_bytes(gzip.compress(content.encode(), mtime=0))
    print(f"{FILE}: {len(paragraphs()):,} paragraphs, {len(sentences(6, 24)):,} sentences of 6 to 24 words")
