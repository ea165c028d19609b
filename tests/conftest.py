"""Shared fixtures. `pytest tests/methods/test_methods.py --method NAME` runs one method's contract."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support import warm_python
from support.sweeps_under_test import DRAWN, start

if TYPE_CHECKING:
    from study.settings import SweepSettings
    from study.tasks import Task

# Torch is imported in fixtures: the process that starts xdist's, before they can start, runs no test.

QUICK = ["seeds=1", "lr=1e-3,1e-2", "task.steps=4", "task.evaluations=2"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--method", action="append", help="run the contract for these methods alone")
    parser.addoption("--launcher", action="append", help="run the contract for these launchers alone")
    parser.addoption("--task", action="append", help="run the contract for these tasks alone")


def pytest_configure(config: pytest.Config) -> None:
    """What all processes of the suite share: a cache (profiles are measured once), and a warm Python."""
    if warm_python.VARIABLE in os.environ:
        return  # it is one of xdist's, or a test runs it: it has this environment
    cache = tempfile.TemporaryDirectory(prefix="tests-cache-", ignore_cleanup_errors=True)
    config.add_cleanup(cache.cleanup)
    os.environ["XDG_CACHE_HOME"] = cache.name
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each process of the suite compiles all tests anew
    os.environ["GOMP_SPINCOUNT"] = "1000"  # as in the workers: the suite itself is busy beside them
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # for commands; their workers are told
    os.environ["HF_HUB_OFFLINE"] = "1"  # without a network a question to the hub takes 20 s
    os.environ[warm_python.VARIABLE] = os.environ[warm_python.REAL_VARIABLE] = warm_python.REAL
    if sys.platform == "linux":
        warm = warm_python.WarmPython()
        config.add_cleanup(warm.close)
        os.environ[warm_python.VARIABLE] = str(warm.program)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no process of the suite is left with one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def own_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """What a process of the suite has for itself: it trains with one thread, as workers do."""
    import torch

    os.environ["STUDY_RUNNING"] = str(tmp_path_factory.mktemp("running"))  # tests beside are no neighbours
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sys, "executable", os.environ[warm_python.VARIABLE])
        yield


@pytest.fixture(scope="session")
def settings() -> SweepSettings:
    from study import config

    return config.load("lr_grid", QUICK)


@pytest.fixture(scope="session")
def vtab(settings: SweepSettings) -> Task:
    from study import tasks

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
def undisturbed() -> Path:
    """The small sweep, run in one go: once for all processes of the suite, by Python itself."""
    folder = Path(os.environ["XDG_CACHE_HOME"]) / "undisturbed"
    folder.mkdir(exist_ok=True)
    study, finished = folder / "results" / "small", folder / "finished"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.exists():
            process = start(folder, DRAWN, python=warm_python.REAL)
            output = process.communicate(timeout=300)[0]
            assert process.returncode == 0, output
            assert "12 of 12 runs: 12 ok" in output and "report: " in output
            finished.touch()
    return study
