"""Folders that cannot be written: work goes on where nothing need be kept, else the right one is named."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.errors import UsageError
from study.launchers.local import Local
from study.launchers.processes import folders
from study.launchers.processes.folders import blame, elsewhere, hub_folders, temporary_folder, why_not, words
from study.settings import LauncherSettings


@pytest.fixture(autouse=True)
def usual_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "XDG_CACHE_HOME", "TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setattr(folders.tempfile, "tempdir", None)


@pytest.fixture(params=["ro", "full"])
def unwritable(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A file system of its own, on which also root cannot write."""
    place = tmp_path / "mounted"
    place.mkdir()
    options = "ro,size=64k" if request.param == "ro" else "size=64k"
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True
    ).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        if request.param == "full":
            with pytest.raises(OSError), (place / "filler").open("wb", buffering=0) as file:
                for _ in range(1000):
                    if file.write(bytes(4096)) < 4096:
                        raise OSError
        yield place, "read-only" if request.param == "ro" else "full"
    finally:
        subprocess.run(["umount", place], check=True)


def test_why_a_folder_cannot_be_written(unwritable: tuple[Path, str], tmp_path: Path) -> None:
    place, reason = unwritable
    assert why_not(place) == why_not(place / "a" / "b") == reason
    assert why_not(tmp_path) == why_not(tmp_path / "new" / "er") == ""
    (tmp_path / "file").touch()
    assert why_not(tmp_path / "file") == why_not(tmp_path / "file" / "x") == "not a folder"


@pytest.mark.parametrize("variable", ["HF_HOME", "HOME", "XDG_CACHE_HOME", "HF_DATASETS_CACHE"])
def test_data_is_prepared_elsewhere_and_that_is_said(
    variable: str, unwritable: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    assert elsewhere() == {} and words({}) == ""
    place, reason = unwritable
    monkeypatch.setenv(variable, str(place))
    sent = elsewhere()
    assert sent.keys() == {"HF_DATASETS_CACHE"} and not why_not(Path(sent["HF_DATASETS_CACHE"]))
    with Local(LauncherSettings(device="cpu", workers=1)).open(tmp_path / "study", 1) as pool:
        assert pool.environment(0)["HF_DATASETS_CACHE"] == sent["HF_DATASETS_CACHE"]
    folder = hub_folders()["HF_DATASETS_CACHE"]
    assert (
        f"{folder} is {reason}: data is prepared in {sent['HF_DATASETS_CACHE']}\n" in capsys.readouterr().out
    )


def test_files_for_a_moment_go_elsewhere(
    unwritable: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(unwritable[0]))
    assert temporary_folder() != unwritable[0] and not why_not(temporary_folder())
    sent = elsewhere()
    assert sent == {"TMPDIR": str(temporary_folder())}
    assert words(sent) == f"TMPDIR={unwritable[0]} cannot be written: {temporary_folder()} is used"


def test_without_any_place_for_them_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.tempfile, "_candidate_tempdir_list", lambda: ["/dev/null/x"])
    with pytest.raises(UsageError, match="No usable temporary directory.*TMPDIR"):
        elsewhere()


def hidden(error: OSError) -> UsageError:
    """As a library and then our loading of data raise over it."""
    try:
        try:
            try:
                raise error
            except OSError:
                raise ValueError("An error occurred while generating the dataset") from None
        except ValueError:
            raise UsageError("task.data=my.csv: cannot be read as csv") from None
    except UsageError as raised:
        return raised


def test_the_right_folder_is_blamed(unwritable: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    place, _ = unwritable
    monkeypatch.setenv("HF_HOME", str(place))
    named = hidden(OSError(28, "No space left on device", str(place / "hub" / "models--a--b" / "x")))
    nameless = hidden(OSError(28, "No space left on device"))
    parent = hidden(NotADirectoryError(20, "Not a directory", str(place)))
    for error, part in ((named, "hub"), (nameless, "datasets"), (parent, "datasets")):
        assert blame(error).startswith(f"{place / part} cannot be written: No")
        assert blame(error).endswith("set HF_HOME to another folder")


def test_other_errors_blame_no_folder(tmp_path: Path) -> None:
    """A data file that may not be read is not a folder that cannot be written."""
    assert blame(hidden(PermissionError(13, "Permission denied", str(tmp_path / "my.csv")))) == ""
    assert blame(hidden(FileNotFoundError(2, "No such file", str(hub_folders()["HF_HUB_CACHE"])))) == ""
    assert blame(ValueError("x")) == "" and blame(None) == ""
    assert blame(OSError(28, "No space left on device")) == ""  # no folder of these is full


PROGRAM = """
import datasets
rows = datasets.load_dataset("csv", data_files="rows.csv", split="train")
print(len(rows))
"""


@pytest.mark.slow
def test_the_libraries_obey(
    unwritable: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is sent elsewhere is enough for `datasets`; without it, it fails."""
    monkeypatch.setenv("HOME", str(unwritable[0]))
    (tmp_path / "rows.csv").write_text("text,label\na,b\nc,d\n")
    run = [sys.executable, "-c", PROGRAM]
    failing = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
    environment = os.environ | elsewhere()
    working = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert failing.returncode != 0 and working.stdout == "2\n", working.stderr
