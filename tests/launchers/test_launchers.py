"""Every launcher keeps the contract, and the contract notices those that do not.

`pytest tests/launchers/test_launchers.py --launcher NAME` tries one of yours, with sweeps/launcher/NAME.yaml.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.slurm_stand_in import StandIn

from study import config, launchers
from study.errors import UsageError
from study.launchers import Capacity, Launcher, Session, slurm
from study.launchers.cluster import squeue
from study.planning.jobs import Answer, Fetched, Job
from study.settings import LauncherSettings
from study.testing import launcher_contract
from study.testing.launcher_contract import CHECKS, Trial

pytestmark = pytest.mark.slow


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "launcher" in metafunc.fixturenames:
        metafunc.parametrize("launcher", metafunc.config.getoption("--launcher") or launchers.names())


def test_a_launcher_keeps_the_contract(
    launcher: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if launcher == "slurm":  # on a real cluster: tests/slurm
        stand_in = StandIn()
        monkeypatch.setattr(slurm, "ASK_S", 0.5)
        monkeypatch.setattr(slurm, "LOOK_S", 0.1)
        monkeypatch.setattr(slurm.Queue.__init__, "__defaults__", (False, stand_in.executor))
        monkeypatch.setattr(squeue, "tasks", stand_in.tasks)
        monkeypatch.setattr(squeue, "cause", lambda task, job_id: task.state if task else "unknown")
        monkeypatch.setattr(slurm.Slurm, "check_reachable", lambda _: None)
    settings = config.load("lr_grid", [f"launcher={launcher}"]).launcher
    for result in launcher_contract.run(settings, tmp_path):
        assert result.ok, f"{result.check} ({result.what}): {result.message}"


class Careless(Launcher):
    """Answers nothing truly: once too often, or not at all."""

    description = "nowhere"

    def capacity(self, jobs: int) -> Capacity:
        return Capacity(0, 1)

    def cache_key(self, threads: int) -> list[str | int | list[str] | None]:
        return ["the same"]

    def open(self, folder: Path, jobs: int, detach: bool = False) -> Session:
        return Doubling()


class Doubling(Session):
    def do(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        for job in jobs:
            yield job, Fetched()
            yield job, Fetched()


def test_the_contract_notices_what_is_wrong(tmp_path: Path) -> None:
    trial = Trial(Careless(LauncherSettings()), tmp_path)
    results = {
        result.check: result for result in launcher_contract.run_checks(CHECKS, trial, unless="not tried")
    }
    broken = {name for name, result in results.items() if not result.ok}
    assert broken == {"capacity", "cache_key", "answers", "deaths", "again"}
    assert "0 workers" in results["capacity"].message and "threads" in results["cache_key"].message
    assert results["answers"].message.startswith("3 jobs got 6 answers: yield the very job")


def test_an_unknown_launcher_is_refused() -> None:
    with pytest.raises(UsageError, match="launcher.name=cloud is not one of: .*local.*slurm"):
        launchers.load(LauncherSettings(name="cloud"))
