"""A local file as rows: CSV, TSV, JSON, JSONL or Parquet, packed with gzip or not.

Everything is read anew, into memory: there is no cache that could outlive the file's content.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.errors import UsageError, first_line
from study.tasks.loading.delimited import read_delimited
from study.tasks.loading.json_rows import kind_of, mixed_kinds, read_json

if TYPE_CHECKING:
    from datasets import Dataset

FORMATS = (".csv", ".tsv", ".json", ".jsonl", ".parquet")

BYTE_ORDER_MARKS = (
    (b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe\x00\x00", "utf-32"), (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"),
)  # fmt: skip


def format_of(path: Path) -> str:
    """One of FORMATS, or empty. `rows.csv.gz` is a .csv."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    return ".jsonl" if last == ".ndjson" else last if last in FORMATS else ""


def load_file(path: Path, wanted: Collection[str]) -> tuple[Dataset, list[str]]:
    """The rows of a file, and notes on what was decided by rule in reading it.

    Args:
        wanted: columns, in lower case, each of which must hold values of one kind; in others they may mix.

    Raises:
        UsageError: if it cannot be read, or has no rows.
    """
    where, kind = f"task.data={path}", format_of(path)
    if not kind:
        raise UsageError(f"{where}: not one of {', '.join(FORMATS)}, or one of these with .gz")
    content = _content(path, where)
    if not content.strip():
        raise UsageError(f"{where}: the file is empty")
    notes: list[str] = []
    if kind == ".parquet":
        rows = _parquet(content, where)
    else:
        text, notes = _decoded(content, where)
        if not text.strip():
            raise UsageError(f"{where}: the file is empty")
        if kind in (".csv", ".tsv"):
            columns, more = read_delimited(text, kind, where)
            rows = _dataset(columns, wanted, where)
            notes += more
        else:
            rows = _dataset(read_json(text, where), wanted, where)
    if not len(rows):
        raise UsageError(f"{where}: no rows")
    return rows, notes


def _content(path: Path, where: str) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if path.suffix.lower() == ".gz" else content
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"{where}: cannot be read: {first_line(error)}") from None


def _decoded(content: bytes, where: str) -> tuple[str, list[str]]:
    """The text, and a note on its encoding, unless it is UTF-8."""
    encoding = next((name for mark, name in BYTE_ORDER_MARKS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        if encoding != "utf-8":
            raise UsageError(f"{where}: begins as {encoding} and is not; save it as UTF-8") from None
        raise UsageError(
            f"{where}: line {line} is not UTF-8 (byte 0x{content[error.start]:02x}); if the file is Latin-1:"
            " iconv -f latin1 -t utf-8 OLD > NEW"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise UsageError(f"{where}: line {line} holds a NUL byte; damaged, or UTF-16? save it as UTF-8")
    return text, [] if encoding.startswith("utf-8") else [f"read as {encoding.upper()}"]


def _dataset(columns: dict[str, list[Any]], wanted: Collection[str], where: str) -> Dataset:
    """Columns as a data set; one that mixes kinds of values is refused if it is wanted, else made text."""
    import pyarrow as pa
    from datasets import Dataset

    typed = {}
    for name, values in columns.items():
        mixed = mixed_kinds(values)
        try:
            if mixed:
                one, other = (f"row {i + 1} is {kind_of(values[i])} ({values[i]!r})" for i in mixed)
                raise ValueError(f"column {name} mixes kinds of values: {one}, {other}")
            numbers = [value for value in values if isinstance(value, float)]
            typed[name] = pa.array([v if v is None else float(v) for v in values] if numbers else values)
        except (ValueError, TypeError, OverflowError, pa.ArrowException) as error:
            if name.lower() in wanted:
                raise UsageError(f"{where}: {first_line(error)}") from None
            typed[name] = pa.array([json.dumps(value) for value in values])
    return Dataset(pa.table(typed))


def _parquet(content: bytes, where: str) -> Dataset:
    import pyarrow as pa
    import pyarrow.parquet as pq
    from datasets import Dataset

    try:
        file = pq.ParquetFile(pa.BufferReader(content))
        table = file.read()
    except (pa.ArrowException, OSError) as error:
        raise UsageError(f"{where}: cannot be read as parquet: {first_line(error)}") from None
    if table.num_rows != file.metadata.num_rows:
        raise UsageError(f"{where}: {table.num_rows} rows read of {file.metadata.num_rows}")
    if repeated := [name for i, name in enumerate(table.column_names) if name in table.column_names[:i]]:
        raise UsageError(f"{where}: two columns are called {repeated[0]!r}; give each a name of its own")
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):  # a pandas categorical: its values
            table = table.set_column(i, field.name, table.column(i).cast(field.type.value_type))
    return Dataset(table)
