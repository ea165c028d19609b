"""The contract of tasks, through which every task at `mini` scale goes: `--task NAME` for one alone."""

from __future__ import annotations

import pytest

from study import config, tasks
from study.errors import UsageError
from study.tasks import Task
from study.testing import task_contract as contract


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "any_task" in metafunc.fixturenames:
        names = metafunc.config.getoption("--task") or tasks.names()
        metafunc.parametrize("any_task", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def any_task(request: pytest.FixtureRequest) -> Task:
    return tasks.load(config.load("lr_grid", [f"task={request.param}"]).task)


@pytest.mark.parametrize("check", contract.CHECKS)
def test_the_contract(any_task: Task, check: str) -> None:
    assert contract.CHECKS[check](any_task) == ""


def test_models_that_ship() -> None:
    assert all(tasks.shipped_checkpoint(name).is_dir() for name in ("glue", "instruct", "vtab"))
    with pytest.raises(UsageError, match=r"task\.model=shipped: no model ships with task tumours"):
        tasks.shipped_checkpoint("tumours")
