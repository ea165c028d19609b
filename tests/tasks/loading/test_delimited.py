"""CSV and TSV: each text is read as one would read it by eye, or refused in one line that says where."""

from __future__ import annotations

import pandas as pd
import pytest

from study.errors import UsageError
from study.tasks.loading import delimited
from study.tasks.loading.delimited import read_delimited

TWO = {"text": ["a", "b"], "label": ["x", "y"]}


@pytest.mark.parametrize(
    ("suffix", "text", "columns"),
    [
        (".csv", "text,label\na,x\nb,y\n", TWO),
        (".csv", "text,label\na,x\nb,y", TWO),  # no line end at the end
        (".csv", "text,label\r\na,x\r\nb,y\r\n", TWO),
        (".csv", "text,label\ra,x\rb,y\r", TWO),
        (".csv", "\ntext,label\n\na,x\n   \nb,y\n\n", TWO),
        (".csv", "text;label\na;x\nb;y\n", TWO),
        (".csv", "text|label\na|x\nb|y\n", TWO),
        (".csv", "text\tlabel\na\tx\nb\ty\n", TWO),
        (".csv", " text , label\na, x\nb, y\n", TWO),
        (".csv", 'text, label\n"a, c", x\nb, y\n', {"text": ["a, c", "b"], "label": ["x", "y"]}),
        (".csv", ",text,label\n0,a,x\n1,b,y\n", TWO),  # pandas' index
        (".csv", 'text,label\n"a, ""c""",x\n', {"text": ['a, "c"'], "label": ["x"]}),
        (".csv", 'text,label\n5" pipe,x\n', {"text": ['5" pipe'], "label": ["x"]}),
        (".csv", 'text,label\n"a\n\nb",x\n', {"text": ["a\n\nb"], "label": ["x"]}),
        (".csv", 'text,label\n"Dear sir, hello\nbye",x\nb,y\n',
         {"text": ["Dear sir, hello\nbye", "b"], "label": ["x", "y"]}),
        (".csv", 'label,text\n1,"first line\nsecond, line"\n1,b\n2,c\n',
         {"label": ["1", "1", "2"], "text": ["first line\nsecond, line", "b", "c"]}),
        (".csv", 'text,score\n"a, b\nc",0.5\nb,1.5\n',
         {"text": ["a, b\nc", "b"], "score": ["0.5", "1.5"]}),
        (".csv", 'text;label\n"a;b";1,5\n', {"text": ["a;b"], "label": ["1,5"]}),
        (".csv", "text,label\nNA,007\nnull,1.50\n", {"text": ["NA", "null"], "label": ["007", "1.50"]}),
        (".tsv", "text\tlabel\na\tx\nb\ty\n", TWO),
        (".tsv", 'text\tlabel\n"a\tx\nb\ty\n', {"text": ['"a', "b"], "label": ["x", "y"]}),
        (".tsv", 'text\tlabel\n"a"\tx\nb"\ty\n', {"text": ['"a"', 'b"'], "label": ["x", "y"]}),
        (".tsv", 'text\tlabel\n"a"\tx\nb\ty\n', {"text": ['"a"', "b"], "label": ["x", "y"]}),
        (".tsv", 'text\tlabel\n"a ""b"\tx\n"c\ty\n', {"text": ['"a ""b"', '"c'], "label": ["x", "y"]}),
        (".tsv", 'text\tlabel\n"a ""b"""\tx\nc\ty\n', {"text": ['a "b"', "c"], "label": ["x", "y"]}),
        (".tsv", '"text"\t"label"\n"a"\t"x"\n"b"\t"y"\n', TWO),
        (".tsv", 'text\tlabel\n"a\nc"\tx\n"b\td"\ty\n', {"text": ["a\nc", "b\td"], "label": ["x", "y"]}),
        (".tsv", "text\tlabel\na\u2028c\x85\x0b\tx\n", {"text": ["a\u2028c\x85\x0b"], "label": ["x"]}),
        (".tsv", "text\tlabel\na\rc\tx\n", {"text": ["a\rc"], "label": ["x"]}),
        (".tsv", "text\ttext2\tlabel\na\t\tx\n", {"text": ["a"], "text2": [""], "label": ["x"]}),
    ],
)  # fmt: skip
def test_read(suffix: str, text: str, columns: dict[str, list[str]]) -> None:
    read, _ = read_delimited(text, suffix, "f")
    assert read == columns


@pytest.mark.parametrize(
    ("suffix", "text", "message"),
    [
        (".csv", 'text,label\na,x\n"b,y\nc,x\nd,y\n',
         r"mark that opens in line 3 is never closed: 1 rows read of 4 lines"),
        (".csv", 'text,label\na,x\n"b"c,y\n',
         r"line 3 has a quotation mark inside quotation marks: 1 rows read"),
        (".csv", 'text,label\na,x\n"b,y\nc,x\nd "e" f,y\n',
         r"line 3, ended in line 5, has a quotation mark inside quotation marks: 1 rows read of 4 lines"),
        (".csv", 'text,label\na,x\nb,y\n"c,y\nd,x\ne",x\n',
         r"lines 4 to 6 would be one row: the quotation mark that opens in line 4 closes in line 6"),
        (".csv", 'text,label\na,x\n"c,y\ne",x\nb,y\n', r"lines 3 to 4 would be one row"),
        (".csv", 'text,score\na,0.25\n"b,0.5\nc",0.75\n', r"lines 3 to 4 would be one row"),
        (".csv", 'label,text\n1,"a\n2,b\n1,c"\n2,d\n', r"lines 2 to 4 would be one row"),
        (".csv", 'label,text\n1,"a\n2,b"\n1,c\n2,d\n', r"lines 2 to 3 would be one row"),
        (".csv", "text,label\na,b,x\n", r"line 2 has 3 cells, the header has 2 \('text', 'label'\)"),
        (".csv", "text,label\na,x\nb\n", r"line 3 has 1 cells, the header has 2"),
        (".csv", "text,label\na,x\n text,label \nb,y\n", r"line 3 repeats the header"),
        (".csv", "text,label,label\na,x,y\n", r"two columns are called 'label'"),
        (".csv", "text,label\nb\rc,x\n", r"line 2 has a carriage return inside a text"),
        (".tsv", "text,label\na,x\n", r"no tab in its header 'text,label'; name it \.csv"),
        (".tsv", "text\tlabel\na\tx\ty\n", r"line 2 has 3 cells, the header has 2"),
        (".tsv", 'text\tlabel\n"a\tb\tx\n"c"\ty\n', r"line 2 has 3 cells, the header has 2"),
        (".tsv", "text\tlabel\na\tx\ntext\tlabel\n", r"line 3 repeats the header"),
    ],
)  # fmt: skip
def test_refused(suffix: str, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        read_delimited(text, suffix, "f")
    assert "\n" not in str(raised.value)


def test_a_text_longer_than_the_csv_module_reads_by_itself() -> None:
    read, _ = read_delimited(f"text,label\n{'a' * 200_000},x\n", ".csv", "f")
    assert len(read["text"][0]) == 200_000


def test_what_was_decided_is_said() -> None:
    assert read_delimited("text;label\na;x\n", ".csv", "f")[1] == ["columns separated by semicolons"]
    assert read_delimited('text,label\n"a\nb",x\n', ".csv", "f")[1] == [
        "1 rows go over several lines of the file, first line 2"
    ]
    assert "taken off" in read_delimited('text\tlabel\n"a ""b"""\tx\n', ".tsv", "f")[1][0]


def test_a_second_reader_that_counts_other_rows_is_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    read_csv = pd.read_csv
    monkeypatch.setattr(delimited.pd, "read_csv", lambda *a, **k: read_csv(*a, **k).iloc[1:])
    with pytest.raises(UsageError, match="f: 2 rows read, 1 by pandas' count"):
        read_delimited("text,label\na,x\nb,y\n", ".csv", "f")
