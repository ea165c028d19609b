"""Extracts the prose of the language miniatures from the documentation of the Python that runs this.

What ships came from CPython 3.11.7: `python3.11 -m study.pretraining.prose --out prose.txt.gz`.
"""

from __future__ import annotations

import argparse
import ast
import gzip
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from study.tasks.miniature import prose

LEFT_OUT = ("test", "site-packages", "dist-packages", "pydoc_data", "idlelib", "lib2to3")
"""Parts of the library's folder that are no library, or have no prose."""


def is_prose(text: str) -> bool:
    """A paragraph of English sentences rather than code, a table or a list of names."""
    letters = sum(c.isalpha() or c.isspace() for c in text)
    return (
        len(text.split()) >= 6
        and letters / len(text) > 0.88
        and text[0].isupper()
        and text[-1] in ".!?:"
        and ">>>" not in text
    )


def documents() -> Iterator[tuple[str, str]]:
    """(source, text) of each topic of the language reference, then of each docstring of the library."""
    from pydoc_data import topics

    for name, body in sorted(topics.topics.items()):
        yield f"reference/{name}", body
    library = Path(sysconfig.get_paths()["stdlib"])
    for file in sorted(library.rglob("*.py")):
        module = file.relative_to(library).with_suffix("").as_posix().replace("/", ".")
        if module.split(".")[0] in LEFT_OUT:
            continue
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                yield f"library/{module}", ast.get_docstring(node) or ""


def extract() -> list[tuple[str, str]]:
    """(source, text) of each paragraph of prose, in reading order; none twice."""
    sources: dict[str, str] = {}
    for source, body in documents():
        for part in re.split(r"\n\s*\n", body):
            text = " ".join(part.lstrip(" *-\n").split()).replace("\t", " ")
            if text and text.isascii() and is_prose(text):
                sources.setdefault(text, source)
    return [(source, text) for text, source in sources.items()]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m study.pretraining.prose",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", type=Path, required=True, metavar="FILE",
        help="where it goes, compressed; a file that is there is replaced",
    )  # fmt: skip
    file: Path = parser.parse_args().out
    if file.is_dir():
        parser.error(f"--out={file} is a folder; give a file")
    content = "".join(f"{source}\t{text}\n" for source, text in extract())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(gzip.compress(content.encode(), mtime=0))
    print(f"{file}: {len(prose.paragraphs(file)):,} paragraphs")


if __name__ == "__main__":
    main()
