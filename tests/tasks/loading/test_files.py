"""Files of every format and encoding as rows, read anew each time."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from study.errors import UsageError
from study.tasks.loading.files import load_file
from study.tasks.loading.text import load_rows

TWO = {"text": ["é a", "b"], "label": ["x", "y"]}
CSV = "text,label\né a,x\nb,y\n"
LINES = '{"text": "é a", "label": "x"}\n{"text": "b", "label": "y"}\n'
LIST = json.dumps([{"text": "é a", "label": "x"}, {"text": "b", "label": "y"}], indent=1)


def read(path: Path, wanted: tuple[str, ...] = ("text", "label")) -> dict[str, list[Any]]:
    rows, _ = load_file(path, wanted)
    return {name: rows[name][:] for name in rows.column_names}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", CSV.encode()),
        ("A.CSV", CSV.encode()),
        ("a.csv", CSV.encode("utf-8-sig")),
        ("a.csv", CSV.encode("utf-16")),
        ("a.csv", b"\xfe\xff" + CSV.encode("utf-16-be")),
        ("a.csv", CSV.encode("utf-32")),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)),
        ("a.tsv", CSV.replace(",", "\t").encode()),
        ("a.jsonl", LINES.encode()),
        ("a.jsonl", LINES.rstrip().encode()),
        ("a.jsonl", LINES.replace("\n", "\r\n\r\n").encode()),
        ("a.jsonl", LINES.encode("utf-8-sig")),
        ("a.ndjson", LINES.encode()),
        ("a.jsonl.gz", gzip.compress(LINES.encode(), mtime=0)),
        ("a.json", LINES.encode()),
        ("a.json", LIST.encode()),
        ("a.json", LIST.encode("utf-16")),
        ("a.jsonl", LIST.encode()),
        ("a.json.gz", gzip.compress(LIST.encode(), mtime=0)),
    ],
)
def test_each_format_and_encoding_reads_the_same(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert read(tmp_path / name) == TWO


def test_parquet(tmp_path: Path) -> None:
    table = pd.DataFrame(TWO).astype({"label": "category"})
    table.to_parquet(tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == TWO


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"\xef\xbb\xbf\n", "the file is empty"),
        ("a.csv", b"text,label\n", "no rows"),
        ("a.json", b"[]", "no rows"),
        ("a.csv", CSV.encode("latin-1"), r"line 2 is not UTF-8 \(byte 0xe9\); if the file is Latin-1: iconv"),
        ("a.csv", CSV.encode("utf-16-le"), r"line 1 holds a NUL byte|not UTF-8"),
        ("a.csv", b"text,label\na,x\nb\0,y\n", "line 3 holds a NUL byte"),
        ("a.csv", b"\xff\xfea", "begins as utf-16 and is not"),
        ("a.csv.gz", CSV.encode(), "cannot be read: Not a gzipped file"),
        ("a.csv.gz", gzip.compress(CSV.encode(), mtime=0)[:-9], "cannot be read: Compressed file ended"),
        ("a.parquet", CSV.encode(), "cannot be read as parquet"),
        ("a.txt", b"a", r"not one of \.csv, \.tsv, \.json, \.jsonl, \.parquet"),
        ("a.xlsx", b"a", r"not one of"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2: cannot be read as JSON"),
        ("a.jsonl", b'{"text": "a"}\n5\n', "line 2 is a number, not an object"),
        ("a.json", b'[{"text": "a"}, ["b"]]', "row 2 is a list or an object, not an object"),
        ("a.json", b'{\n"text": "a"\n}', "one object, not rows"),
        ("a.json", b'{"text": {"0": "a", "1": "b"}}', "one object, not rows"),
        ("a.jsonl", b'{"text": "a", "text": "b"}\n', "line 1: an object has 'text' twice"),
        ("a.jsonl", b'{"text": "a", " text": "b"}\n', "two columns are called 'text'"),
        ("a.jsonl", b'{"label": true}\n{"label": 1}\n',
         r"column label mixes kinds of values: row 1 is true or false \(True\), row 2 is a number \(1\)"),
        ("a.jsonl", b'{"label": 3}\n{"label": null}\n{"label": "n/a"}\n',
         r"column label mixes kinds of values: row 1 is a number \(3\), row 3 is text \('n/a'\)"),
    ],
)  # fmt: skip
def test_refused(name: str, content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        load_file(tmp_path / name, ("text", "label"))
    assert "\n" not in str(raised.value) and str(tmp_path / name) in str(raised.value)


def test_columns_that_are_not_used_may_hold_anything(tmp_path: Path) -> None:
    lines = [{"text": "a", "id": 1}, {"text": "b", "id": "2"}, {"text": "c", "id": [{}]}, {"text": "d"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read(tmp_path / "a.jsonl")["text"] == ["a", "b", "c", "d"]


def test_whole_and_other_numbers_together_are_numbers(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"label": 1}\n{"label": 2.5}\n{"label": null}\n')
    assert read(tmp_path / "a.jsonl") == {"label": [1.0, 2.5, None]}


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl"])
def test_changed_content_under_the_same_path_and_time_is_read(name: str, tmp_path: Path) -> None:
    contents = {
        "a.csv": ("text,label\na,x\n", "text,label\na,y\n"),
        "a.tsv": ("text\tlabel\na\tx\n", "text\tlabel\na\ty\n"),
        "a.jsonl": ('{"text": "a", "label": "x"}\n', '{"text": "a", "label": "y"}\n'),
    }
    path, other = tmp_path / name, tmp_path / f"other-{name}"
    path.write_text(contents[name][0])
    assert read(path)["label"] == ["x"]
    other.write_text(contents[name][1])
    os.utime(other, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    shutil.copy2(other, path)
    assert read(path)["label"] == ["y"]


def test_a_folder_of_splits(tmp_path: Path) -> None:
    for name in ("train.csv", "dev.csv", "test.csv", "extra.csv", "README.md"):
        (tmp_path / name).write_text(f"text,label\n{name},x\n")
    parts, notes = load_rows(str(tmp_path))
    assert {split: rows["text"][:] for split, rows in parts.items()} == {
        "train": ["train.csv"], "validation": ["dev.csv"], "test": ["test.csv"],
    }  # fmt: skip
    assert notes == ["not read: README.md, extra.csv"]
    (tmp_path / "validation.json").write_text("[]")
    with pytest.raises(UsageError, match=r"dev\.csv and validation\.json: keep one for validation"):
        load_rows(str(tmp_path))
