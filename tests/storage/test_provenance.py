"""What is said of the checkout: this project's own, and whether two commits decide results alike."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.storage import provenance as module
from study.storage.provenance import is_same_code, provenance


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A checkout with the folders of this package that decide results, and one that does not."""
    package = tmp_path / "study"
    for name in (*module.RESULT_CODE, "cli"):
        (package / name).mkdir(parents=True)
        (package / name / "code.py").write_text("1")
    (package / "__init__.py").touch()
    git(tmp_path, "init", "-q")
    commit(tmp_path)
    monkeypatch.setattr(module, "PACKAGE", package)
    provenance.cache_clear()
    yield package
    provenance.cache_clear()


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def commit(folder: Path) -> str:
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "x", "--allow-empty")
    return git(folder, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    "folder, same", [("cli", True), ("methods", False), ("tasks", False), ("training", False)]
)
def test_only_code_that_decides_results_makes_another_project(folder: str, same: bool, package: Path) -> None:
    before = provenance().git_sha
    (package / folder / "code.py").write_text("2")
    assert is_same_code(before, commit(package.parent)) is same


def test_a_commit_that_is_not_known_is_another(package: Path) -> None:
    assert not is_same_code("0" * 40, provenance().git_sha)
    assert is_same_code("0" * 40, "0" * 40)


def test_the_checkout_and_whether_it_is_as_committed(package: Path) -> None:
    assert provenance().git_sha == git(package, "rev-parse", "HEAD") and not provenance().git_dirty
    (package / "cli" / "code.py").write_text("2")
    provenance.cache_clear()
    assert provenance().git_dirty


def test_a_checkout_of_something_else_around_the_package_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: Path
) -> None:
    """As where a user's project has this one installed in its environment."""
    (tmp_path / ".gitignore").write_text(".venv\n")
    installed = tmp_path / ".venv" / "study"
    installed.mkdir(parents=True)
    (installed / "__init__.py").touch()
    commit(tmp_path)
    monkeypatch.setattr(module, "PACKAGE", installed)
    provenance.cache_clear()
    assert (provenance().git_sha, provenance().git_dirty) == ("", False)
    assert "torch 2." in provenance().versions
