"""Shared fixtures. `pytest tests/methods/test_methods.py --method NAME` runs one method's contract."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from support.sweeps_under_test import DRAWN, start

from study import config, tasks
from study.settings import SweepSettings
from study.tasks import Task

QUICK = ["seeds=1", "lr=1e-3,1e-2", "task.steps=4", "task.evaluations=2"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--method", action="append", help="run the contract for these methods alone")
    parser.addoption("--launcher", action="append", help="run the contract for these launchers alone")
    parser.addoption("--task", action="append", help="run the contract for these tasks alone")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Profiles of this machine are measured for the tests alone; one thread, as in the workers."""
    os.environ["XDG_CACHE_HOME"] = str(tmp_path_factory.mktemp("cache"))
    os.environ["STUDY_RUNNING"] = str(tmp_path_factory.mktemp("running"))  # tests beside are no neighbours
    os.environ["GOMP_SPINCOUNT"] = "1000"  # as in the workers: the suite itself is busy beside them
    torch.set_num_threads(1)
    yield


@pytest.fixture(scope="session")
def settings() -> SweepSettings:
    return config.load("lr_grid", QUICK)


@pytest.fixture(scope="session")
def vtab(settings: SweepSettings) -> Task:
    return tasks.load(settings.task)


@pytest.fixture
def study_command(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m MODULE ARGUMENTS` in an empty folder, as a user would."""

    def run(module: str, *arguments: str, timeout: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small sweep, run in one go."""
    folder = tmp_path_factory.mktemp("undisturbed")
    process = start(folder, DRAWN)
    output = process.communicate(timeout=300)[0]
    assert process.returncode == 0, output
    assert "12 of 12 runs: 12 ok" in output and "report: " in output
    return folder / "results" / "small"
