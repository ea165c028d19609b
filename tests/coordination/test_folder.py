"""A study's folder is there when something ran in it, and not because a command was refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.coordination.folder import check_can_be_written, gone_if_refused
from study.errors import UsageError


def refuse(folder: Path, *left: str) -> None:
    with pytest.raises(UsageError), gone_if_refused(folder):
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        for name in left:
            (folder / name).mkdir(parents=True, exist_ok=True)
        raise UsageError("no")


def test_a_refused_command_leaves_no_folder(tmp_path: Path) -> None:
    refuse(tmp_path / "results" / "compare" / "new")
    assert not any(tmp_path.iterdir())


def test_what_others_put_there_meanwhile_stays(tmp_path: Path) -> None:
    refuse(tmp_path / "results" / "new", "../another")
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["another"]


@pytest.mark.parametrize("finished", ["records", "plan.json"])
def test_what_was_trained_stays_when_something_is_refused_after(finished: str, tmp_path: Path) -> None:
    refuse(tmp_path / "new", finished)
    assert (tmp_path / "new" / finished).exists()


def test_a_folder_that_was_there_stays(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    refuse(tmp_path / "old")
    assert (tmp_path / "old" / "logs").exists()


def test_a_folder_that_could_not_be_made_is_refused_and_not_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="file is no folder; give another results="):
        check_can_be_written(tmp_path / "file" / "study")
    check_can_be_written(tmp_path / "results" / "study")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
