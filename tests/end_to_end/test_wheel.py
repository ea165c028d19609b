"""An installed study needs no checkout: a wheel in a fresh environment runs a sweep from an empty folder."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from support.paths import ROOT
from support.warm_python import REAL

pytestmark = pytest.mark.slow
FILES = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
FOLDERS = ("study", "analysis", "sweeps", "results/reference")


def run(*command: str | Path, cwd: Path) -> str:
    """What a command prints, without the checkout on its path."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy, for a build leaves folders where it works
    for name in FOLDERS:
        pictures = ["*.png"] if name.startswith("results") else []
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", *pictures))
    for name in FILES:
        shutil.copy(ROOT / name, source)
    run(REAL, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
        "--wheel-dir", folder, source, cwd=folder)  # fmt: skip
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with the wheel, which borrows the dependencies of this one."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, symlinks=True)
    python = folder / "bin" / "python"
    run(REAL, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", wheel, cwd=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    borrowed = [path for path in sys.path if Path(path).name in ("site-packages", "dist-packages")]
    (packages / "dependencies.pth").write_text("\n".join(borrowed))  # their own .pth files are not read
    return python


def test_a_wheel_holds_the_packages_and_the_sweeps(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("study", "analysis")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert sources <= names
    sweeps = {path.relative_to(ROOT).as_posix() for path in (ROOT / "sweeps").rglob("*.yaml")}
    reference = ROOT / "results" / "reference"
    found = {path.relative_to(reference) for path in reference.rglob("plan.json")}
    assert any(len(path.parts) > 2 for path in found)  # of the atlas
    plans = {f"reference/{path.as_posix()}" for path in found}
    assert {name.removeprefix("study/shipped/") for name in names if "/shipped/" in name} == sweeps | plans
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"study", "analysis"}


def test_an_installed_study_from_an_empty_folder(python: Path, tmp_path: Path) -> None:
    where = run(
        python, "-c", "import study, analysis; print(study.__file__, analysis.__file__)", cwd=tmp_path
    )
    assert all(Path(path).is_relative_to(python.parent.parent) for path in where.split())
    sweep = [python, "-m", "study.sweep"]
    shown = run(*sweep, "--help", cwd=tmp_path)
    assert all(path.stem in shown for path in (ROOT / "sweeps").glob("*.yaml") if path.stem != "base")
    settings = ["lr_grid", "method=ether", "lr=1e-2", "seeds=1", "task.steps=3", "task.evaluations=1"]
    planned = run(*sweep, *settings, "dry_run=true", cwd=tmp_path)
    assert "1 run" in planned and not any(tmp_path.iterdir())
    assert "report: " in run(*sweep, *settings, cwd=tmp_path)
    assert (tmp_path / "results" / "lr_grid" / "report.html").stat().st_size > 10_000
    assert "my_method.py" in run(python, "-m", "study.compare", "--help", cwd=tmp_path)
    models = [f"study.pretraining.{name}" for name in ("vit", "deberta", "llama")]
    run(python, "-c", f"import {', '.join(models)}", cwd=tmp_path)
