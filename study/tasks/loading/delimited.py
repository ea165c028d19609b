"""Tables as text, CSV and TSV, read strictly: every row of the file is a row, or a line says which is not."""

from __future__ import annotations

import contextlib
import csv
import io
import re
import sys
from collections.abc import Iterator
from typing import NamedTuple

import pandas as pd

from study.errors import UsageError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "vertical bars"}

QUOTED = re.compile(r'"(?:[^"]|"")*"')
"""A cell as a CSV writer leaves it that quotes: marks around it, those inside doubled."""


class Row(NamedTuple):
    """A row's cells, and the lines of the file, counted from 1, in which it begins and ends."""

    cells: list[str]
    first: int
    last: int


def read_delimited(text: str, suffix: str, where: str) -> tuple[dict[str, list[str]], list[str]]:
    """Columns of text by name, and notes on what was decided by rule.

    CSV is read with quoting, each quotation mark in its place. TSV is read as GLUE's is, without quoting, but
    where its quotation marks can only be a CSV writer's.

    Args:
        suffix: .csv or .tsv; a .csv file's separator is the one that gives its header the most columns.
        where: begins each message.

    Raises:
        UsageError: for the first line that is not a row of the table.
    """
    text = text.replace("\r\n", "\n")
    text = text if "\n" in text else text.replace("\r", "\n")
    separator = _separator(text, suffix, where)
    notes = [] if suffix == ".tsv" or separator == "," else [f"columns separated by {SEPARATORS[separator]}"]
    if separator == "\t":
        rows, unquoted = _tabbed_rows(text, where)
        notes += ["quotation marks around cells taken off, as a CSV writer put them"] if unquoted else []
    else:
        rows = _quoted_rows(text, separator, where)
    header, rows = [name.strip() for name in rows[0].cells], rows[1:]
    named = [name for name in header if name]
    if repeated := [name for i, name in enumerate(named) if name in named[:i]]:
        raise UsageError(f"{where}: two columns are called {repeated[0]!r}; give each a name of its own")
    _check_rows(header, rows, where)
    long = [row for row in rows if row.last > row.first]
    if long:
        notes.append(f"{len(long)} rows go over several lines of the file, first line {long[0].first}")
    columns = {name: [row.cells[i] for row in rows] for i, name in enumerate(header) if name}
    return columns, notes


def _separator(text: str, suffix: str, where: str) -> str:
    header = next((line for line in text.split("\n") if line.strip()), "")
    if suffix == ".tsv":
        if "\t" not in header and ("," in header or ";" in header):
            raise UsageError(f"{where}: no tab in its header {_short(header)}; name it .csv if it is CSV")
        return "\t"
    pieces = {each: len(next(csv.reader([header], delimiter=each), [])) for each in SEPARATORS}
    return max(pieces, key=lambda each: pieces[each])  # the first of those with as many


def _tabbed_rows(text: str, where: str) -> tuple[list[Row], bool]:
    """Rows of a TSV file, and whether a CSV writer's quotation marks were taken off."""
    lines = enumerate(text.split("\n"), 1)
    plain = [Row(line.split("\t"), number, number) for number, line in lines if line.strip(" ")]
    marked = [cell for row in plain for cell in row.cells if '"' in cell]
    a_writers = bool(marked) and all(QUOTED.fullmatch(cell) for cell in marked)
    if a_writers and (any('""' in cell[1:-1] for cell in marked) or set(plain[0].cells) <= set(marked)):
        return _quoted_rows(text, "\t", where), True
    width = len(plain[0].cells)
    if (
        any(len(row.cells) != width for row in plain) and marked
    ):  # a tab or a line end inside quotation marks?
        with contextlib.suppress(UsageError):
            quoted = _quoted_rows(text, "\t", where)
            if all(len(row.cells) == width for row in quoted):
                return quoted, True
    return plain, False


def _quoted_rows(text: str, separator: str, where: str) -> list[Row]:
    """Rows read with quoting, counted by a second reader.

    Raises:
        UsageError: if a quotation mark is never closed, closes in a later row, or stands where none can.
    """
    lines = text.split("\n")
    header = next(line for line in lines if line.strip())
    after_space = all(cell[:1] == " " for cell in header.split(separator)[1:]) and separator in header
    reader = csv.reader(
        (f"{line}\n" for line in lines), delimiter=separator, strict=True, skipinitialspace=after_space
    )
    rows: list[Row] = []
    first = 1
    with _cells_of_any_length():
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells) or len(cells) > 1:
                    rows.append(Row(cells, first, reader.line_num))
                first = reader.line_num + 1
        except csv.Error as error:
            raise UsageError(f"{where}: {_fault(error, first, reader.line_num, lines, len(rows))}") from None
    _check_that_no_row_swallows_others(rows, lines, separator, where)
    with _cells_of_any_length():
        second = pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, header=None, engine="c",
            skipinitialspace=after_space, names=range(max(len(row.cells) for row in rows)), index_col=False,
        )  # fmt: skip
    if len(second) != len(rows):
        raise UsageError(
            f"{where}: {len(rows) - 1} rows read, {len(second) - 1} by pandas' count; save it as JSONL"
        )
    return rows


def _fault(error: csv.Error, first: int, last: int, lines: list[str], read: int) -> str:
    """What the csv module complains of, in the user's words."""
    total = sum(1 for line in lines if line.strip()) - 1
    if "unexpected end" in str(error):
        return (
            f"the quotation mark that opens in line {first} is never closed: {max(read - 1, 0)} rows read of"
            f' {total} lines; double a mark that belongs to the text (""), or save as TSV or JSONL'
        )
    if "expected after" in str(error):
        lines_of_row = f"line {first}" if first == last else f"line {first}, ended in line {last},"
        return (
            f"{lines_of_row} has a quotation mark inside quotation marks: {max(read - 1, 0)} rows read of"
            f' {total} lines; double a mark that belongs to the text ("")'
        )
    if "new-line character" in str(error):
        return f"line {last} has a carriage return inside a text; put the text in quotation marks"
    return f"line {last}: {error}"


def _check_that_no_row_swallows_others(rows: list[Row], lines: list[str], separator: str, where: str) -> None:
    """A stray quotation mark and the next one, rows later, are a row over many lines to any CSV reader.

    It is found by the lines inside: one that by itself has as many cells as the header, and in one of them
    what other rows have in that column (a label, or a number where all are numbers), is a row.
    """
    long = [row for row in rows if row.last > row.first]
    if not long:
        return
    width = len(rows[0].cells)
    short = [row.cells for row in rows[1:] if row.first == row.last and len(row.cells) == width]
    seen = [set(column) - {""} for column in zip(*short, strict=True)]
    numeric = [all(map(_is_number, values)) for values in seen]
    for row in long:
        for i, line in enumerate(lines[row.first - 1 : row.last]):
            cells = line.split(separator)
            if len(cells) != width or not seen:
                continue
            begin, end = 0, width  # of the cells that are inside the quotation marks
            if i == 0:
                begin = next((j for j, cell in enumerate(cells) if _opens(cell)), width) + 1
            if i == row.last - row.first:
                end = next((j for j, cell in enumerate(cells) if cell.rstrip().endswith('"')), 0)
            if any(cells[j] in seen[j] or (numeric[j] and _is_number(cells[j])) for j in range(begin, end)):
                raise UsageError(
                    f"{where}: lines {row.first} to {row.last} would be one row: the quotation mark that"
                    f" opens in line {row.first} closes in line {row.last}, and the lines between look like"
                    ' rows; double a mark that belongs to the text (""), or save as TSV or JSONL'
                )


def _opens(cell: str) -> bool:
    """Whether quotation marks open in the cell and do not close in it."""
    return cell.lstrip().startswith('"') and not QUOTED.fullmatch(cell.strip())


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _check_rows(header: list[str], rows: list[Row], where: str) -> None:
    for row in rows:
        if len(row.cells) != len(header):
            raise UsageError(
                f"{where}: line {row.first} has {len(row.cells)} cells, the header has {len(header)}"
                f" ({', '.join(map(_short, header[:10]))}); a separator inside a text needs quotation marks"
            )
        if [cell.strip() for cell in row.cells] == header:
            raise UsageError(f"{where}: line {row.first} repeats the header; take it out")


@contextlib.contextmanager
def _cells_of_any_length() -> Iterator[None]:
    before = csv.field_size_limit(sys.maxsize)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:37]}...")
