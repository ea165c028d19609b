"""What stands for a file is never looked for on the hub; what may be on the hub is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from study.errors import UsageError
from study.tasks.loading.sources import is_local, local_path
from study.tasks.loading.text import load_rows


@pytest.mark.parametrize(
    ("value", "local"),
    [
        ("nope.csv", True), ("data/nope.jsonl", True), ("nope.csv.gz", True), ("notes.txt", True),
        ("./reviews", True), ("../reviews", True), ("~/reviews", True), ("/data/reviews", True),
        ("a/b/c", True), ("a\\b", True), ("there/reviews", True), ("there", True),
        ("imdb", False), ("nyu-mll/glue", False), ("org/data-v1.5", False), ("org/name.en", False),
    ],
)  # fmt: skip
def test_which_names_are_local(
    value: str, local: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    assert is_local(value) == local


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("revews.csv", "task.data=revews.csv: no such file; nearest: reviews.csv, more.csv"),
        ("qqqqqqqq.tsv", "task.data=qqqqqqqq.tsv: no such file; this folder has more.csv, reviews.csv"),
        ("./photo", "task.data=./photo: no such folder; nearest: photos"),
        ("a/b/nope.csv", "task.data=a/b/nope.csv: no such file; nor is there a folder a/b"),
    ],
)
def test_what_is_not_there(value: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "reviews.csv").touch()
    (tmp_path / "more.csv").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as raised:
        local_path("task.data", value)
    assert str(raised.value) == message


@pytest.mark.parametrize(
    ("offline", "error", "message"),
    [
        ("1", ConnectionError("Couldn't reach 'imdb' on the Hub"), r"hub's cache .*HF_HUB_OFFLINE is set"),
        (
            "",
            ConnectionError("Couldn't reach 'imdb' on the Hub"),
            "hub cannot be reached: is there a network",
        ),
        (
            "",
            FileNotFoundError("Dataset 'imdb' doesn't exist\non the Hub"),
            "hub says: Dataset 'imdb' doesn't",
        ),
    ],
)
def test_a_name_that_the_hub_does_not_give(
    offline: str, error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load_dataset(*_: Any) -> None:
        raise error

    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    monkeypatch.setenv("HF_HUB_OFFLINE", offline)
    with pytest.raises(UsageError, match=message) as raised:
        load_rows("imdb")
    assert str(raised.value).startswith("task.data=imdb: no such file or folder here; ")
    assert "\n" not in str(raised.value)
