"""`python -m study.atlas`: studies that are planned, run, interrupted and resumed as one."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.sweeps_under_test import Command, table

from study import atlas
from study.errors import UsageError
from study.planning.runs import Run
from study.settings import SweepSettings
from study.storage.atlas_file import read_atlas

SMALL = ["lr=1e-3,1e-2", "seeds=1", "task.steps=2", "task.evaluations=1", "pack_size=2", "launcher.workers=1"]
TWO = ["only=vtab,instruct", "method=ether,lora", *SMALL]
Study = Callable[[str], int]


@pytest.fixture
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Study], list[str]]:
    """Has the studies carried out by a function of their names; returns these as they are begun."""
    monkeypatch.chdir(tmp_path)

    def carried_out(by: Study) -> list[str]:
        begun: list[str] = []

        def run_study(settings: SweepSettings, runs: list[Run], draw: object, borrow_from: Path) -> int:
            begun.append(settings.name)
            (Path(settings.results) / settings.name).mkdir(parents=True)
            assert borrow_from == Path("results") and not settings.report
            return by(settings.name)

        monkeypatch.setattr(atlas, "run_study", run_study)
        return begun

    return carried_out


def refused(name: str) -> int:
    raise UsageError(f"{name} is not what it was")


@pytest.mark.parametrize("by,code", [
    (lambda name: 0, 0),
    (lambda name: int(name == "vtab"), 1),  # a run failed
    (lambda name: refused(name) if name == "vtab" else 0, 1),
    (refused, 2),
])  # fmt: skip
def test_a_study_that_fails_does_not_stop_the_others(
    by: Study, code: int, studies: Callable[[Study], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    begun = studies(by)
    assert atlas.main(["only=vtab,glue_topic", "method=ether,lora", *SMALL]) == code
    assert begun == ["vtab", "glue_topic"]
    noted = read_atlas(Path("results/atlas"))
    assert {m: each.runs for m, each in noted.tasks["glue_topic"].methods.items()} == {"ether": 2, "lora": 2}
    was_refused = noted.tasks["vtab"].refused
    assert bool(was_refused) == ("error: vtab: vtab is not what it was" in capsys.readouterr().err)


def test_an_interrupt_stops_all_and_says_how_to_go_on(
    studies: Callable[[Study], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(name: str) -> int:
        if name == "instruct":
            raise KeyboardInterrupt
        return 0

    begun = studies(interrupted)
    assert atlas.main(["only=vtab,instruct,glue_topic", *SMALL]) == 130
    assert begun == ["vtab", "instruct"]
    assert "Go on with: python -m study.atlas only=vtab,instruct,glue_topic" in capsys.readouterr().out


def test_what_was_noted_of_other_tasks_and_methods_stays(studies: Callable[[Study], list[str]]) -> None:
    studies(lambda name: 0)
    assert atlas.main(["only=vtab", "method=ether", *SMALL]) == 0
    Path("results/atlas/vtab").rmdir()
    assert atlas.main(["only=instruct,vtab", "method=hra", *SMALL]) == 0
    tasks = read_atlas(Path("results/atlas")).tasks
    assert set(tasks) == {"vtab", "instruct"} and set(tasks["vtab"].methods) == {"ether", "hra"}


def test_methods_that_cannot_train_on_a_task_are_left_out_and_noted(
    studies: Callable[[Study], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    studies(lambda name: 0)
    assert atlas.main(["only=s2i", "method=frod,ether", *SMALL]) == 0
    planned = read_atlas(Path("results/atlas")).tasks["s2i"]
    assert set(planned.methods) == {"ether"} and set(planned.excluded) == {"frod"}
    assert atlas.main(["only=s2i", "method=frod", *SMALL]) == 2
    assert "error: nothing to run: frod on s2i: it makes one projection" in capsys.readouterr().err


@pytest.mark.parametrize("arguments,message", [
    ("only=glue", "only=glue: nearest: glue_"),
    ("task=glue", "task=glue: the atlas has tasks of its own; choose among them with only=vtab,..."),
    ("name=mine", "name=mine: the atlas has tasks of its own"),
    ("method=adalora", "method adalora cannot be trained here"),
    ("vtab", "'vtab' is not an override"),
])  # fmt: skip
def test_refused_in_one_line_before_anything_runs(
    arguments: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert atlas.main(arguments.split()) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_every_miniature_is_a_task_of_the_atlas() -> None:
    from analysis.data.studies import MINIATURES
    from study.naming import study_name

    assert list(atlas.TASKS) == [study_name(task, subset) for task, _, subset in MINIATURES]


@pytest.mark.slow
def test_interrupted_and_resumed_and_drawn(study_command: Command, tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "study.atlas", *TWO], cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("instruct: 2 of 2 tasks"):
            process.send_signal(signal.SIGINT)
            break
    rest = process.communicate(timeout=300)[0]
    assert process.returncode == 130 and "Go on with" in rest
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "results/atlas/vtab/records").iterdir()}
    assert stamps

    plan = study_command("study.atlas", *TWO, "dry_run=true")
    assert (
        plan.returncode == 0
        and "4 of 4 runs are done" in plan.stdout
        and "all 2 tasks: 8 runs" in plan.stdout
    )
    assert study_command("study.atlas", *TWO).returncode == 0
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in stamps.items())
    assert len(table(tmp_path / "results/atlas/instruct")) == 4
    for page in ("index", "methods/lora", "tasks/instruct"):
        assert (tmp_path / "results" / "atlas" / f"{page}.html").exists()
    listed = study_command("study.status")
    assert listed.returncode == 0 and {"atlas/vtab", "atlas/instruct"} <= set(listed.stdout.split())


@pytest.mark.slow
def test_runs_of_other_studies_are_taken_over(study_command: Command, tmp_path: Path) -> None:
    assert study_command("study.sweep", "lr_grid", "method=ether", *SMALL, "report=false").returncode == 0
    done = study_command("study.atlas", "only=vtab", "method=ether", *SMALL, "report=false")
    assert done.returncode == 0 and "2 runs are there already, in results/lr_grid" in done.stdout
    assert "packs" not in done.stdout and len(table(tmp_path / "results/atlas/vtab")) == 2
