"""A study is found by its name or its folder, in every way that these are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from study.cli.studies import existing_study, study_folder
from study.errors import UsageError


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two studies, a comparison, a study of the atlas, and one elsewhere."""
    for folder in (
        "results/lr_grid",
        "results/blocks",
        "results/compare/gain",
        "results/atlas/vtab",
        "elsewhere/mine",
    ):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "plan.json").touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


@pytest.mark.parametrize("name,where,expected", [
    ("lr_grid", "results", "results/lr_grid"),
    ("results/lr_grid", "results", "results/lr_grid"),
    ("results/lr_grid/", "results", "results/lr_grid"),
    ("./results/lr_grid", "results", "results/lr_grid"),
    ("gain", "results", "results/compare/gain"),
    ("compare/gain", "results", "results/compare/gain"),
    ("results/compare/gain", "results", "results/compare/gain"),
    ("vtab", "results", "results/atlas/vtab"),
    ("atlas/vtab", "results", "results/atlas/vtab"),
    ("mine", "elsewhere", "elsewhere/mine"),
    ("elsewhere/mine", "results", "elsewhere/mine"),
    ("elsewhere/mine", "elsewhere", "elsewhere/mine"),
])  # fmt: skip
def test_found(name: str, where: str, expected: str, results: Path) -> None:
    assert existing_study(name, where, "plan.json") == Path(expected)
    assert study_folder(str(Path(expected).resolve()), where, "plan.json") == Path(expected).resolve()


def test_a_name_is_one_under_results_before_it_is_a_folder(results: Path) -> None:
    Path("lr_grid").mkdir()
    Path("lr_grid/plan.json").touch()
    assert existing_study("lr_grid", "results", "plan.json") == Path("results/lr_grid")
    assert existing_study("./lr_grid", "results", "plan.json") == Path("lr_grid")


@pytest.mark.parametrize("name,where,message", [
    ("lr_gird", "results", "no study results/lr_gird; nearest: lr_grid"),
    ("results/lr_gird", "results", "no study results/lr_gird; nearest: lr_grid"),
    ("gian", "results", "no study results/gian; nearest: gain"),
    ("mine", "nowhere", "no study nowhere/mine; nowhere holds no study yet"),
])  # fmt: skip
def test_not_found(name: str, where: str, message: str, results: Path) -> None:
    with pytest.raises(UsageError, match=message):
        existing_study(name, where, "plan.json")
