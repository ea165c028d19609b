"""The front door: importing is free; tables, figures and refusals are those of the commands."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from support.paths import REFERENCE
from support.sweeps_under_test import SMALL

import study
from study import config
from study.cli.studies import RESULTS
from study.door import _text
from study.errors import UsageError
from study.planning.runs import plan_runs


@pytest.fixture(scope="module")
def lr_grid(tmp_path_factory: pytest.TempPathFactory) -> study.OpenStudy:
    results = tmp_path_factory.mktemp("results")
    shutil.copytree(REFERENCE / "lr_grid", results / "lr_grid")
    return study.load("lr_grid", str(results))


def test_importing_it_imports_nothing_else() -> None:
    code = (
        "import sys\nbefore = set(sys.modules)\nimport study\n"
        "new = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "assert new - sys.stdlib_module_names == {'study'}, new\n"
        "study.load\nassert not {'torch', 'pandas', 'matplotlib'} & set(sys.modules)\n"
        "assert 'load' in dir(study)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_tables_are_the_studys(lr_grid: study.OpenStudy) -> None:
    assert len(lr_grid.runs) == 225 and lr_grid.name == "lr_grid"
    for table in (lr_grid.history, lr_grid.layers):
        assert set(table["run_id"]) == set(lr_grid.runs["run_id"])
        assert {"label", "lr", "seed"} <= set(table)
    assert "225 runs of ether, ether_plus, lora, oft, naive" in repr(lr_grid)


def test_robustness_and_best_are_those_of_the_report(lr_grid: study.OpenStudy) -> None:
    printed = pd.read_csv(REFERENCE / "lr_grid" / "robustness.csv").set_index("label")
    table = lr_grid.robustness().set_index("label")
    pd.testing.assert_series_equal(table["tuned_test"], printed["tuned_test"])
    best = lr_grid.best("lora")
    assert set(best["lr"]) == {printed.loc["lora", "best_lr"]} and list(best["seed"]) == [0, 1, 2, 3, 4]
    assert best["test"].mean() == pytest.approx(printed.loc["lora", "tuned_test"])


def test_a_figure_is_drawn_and_shown(lr_grid: study.OpenStudy) -> None:
    figure = lr_grid.figure("robustness", highlight=["ETHER+"], width="column")
    assert figure.pdf.is_file() and figure.data.is_file()
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert "robustness" in lr_grid.figures()


@pytest.mark.parametrize("call,message", [
    (lambda s: study.load("lr_gird", str(s.folder.parent)), "nearest: lr_grid"),
    (lambda s: s.best("lroa"), "nearest: lora"),
    (lambda s: s.figure("robustnes"), "nearest: robustness"),
    (lambda s: s.figure("robustness", highlight=["nobody"]), "nobody"),
    (lambda s: s.command("nope"), "has no run 'nope'"),
    (lambda s: study.run("lr_gird"), "unknown sweep 'lr_gird'; nearest: lr_grid"),
    (lambda s: study.run("lr_grid", sedes=3), "unknown key 'sedes'"),
    (lambda s: study.run("lr_grid", dry_run=True), "leave no study to open"),
])  # fmt: skip
def test_refusals(call: object, message: str, lr_grid: study.OpenStudy) -> None:
    with pytest.raises(UsageError, match=message):
        call(lr_grid)  # type: ignore[operator]


@pytest.mark.parametrize("settings,words", [
    ({"method": ["ether", "lora"], "lr": [1e-3, 1e-2]}, ["method=ether,lora", "lr=1e-3,1e-2"]),
    ({"seeds": [3, 7], "method": "ether"}, ["seeds=[3,7]", "method=ether"]),
    ({"task.target_modules": ["q_proj", "k_proj"]}, ["task.target_modules=[q_proj,k_proj]"]),
    ({"task.clip": [None, 1.0], "report": False}, ["task.clip=null,1.0", "report=false"]),
])  # fmt: skip
def test_keywords_are_the_overrides_of_the_command(settings: dict[str, object], words: list[str]) -> None:
    given = [f"{key}={_text(key, value)}" for key, value in settings.items()]
    of_door, of_command = (plan_runs(config.load("lr_grid", each)) for each in (given, words))
    assert of_door == of_command


def test_a_range_of_a_space_is_a_dict() -> None:
    given = f"lr={_text('lr', {'log': [1e-3, 1]})}"
    assert config.load("space", [given]).space["lr"] == {"log": [1e-3, 1]}


@pytest.mark.slow
def test_a_study_run_from_python_and_its_adapter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    small = dict(word.split("=") for word in SMALL[1:] if not word.startswith(("name", "method", "lr")))
    s = study.run("lr_grid", method=["ether", "lora"], lr=[1e-2], name="mine", save_adapters="best", **small)
    assert study.studies() == ["mine"] and len(s.runs) == 4 and RESULTS.default == "results"
    model = s.adapter("ether", seed=1)
    row = s.best("ether").set_index("seed").loc[1]
    assert s.command(row["run_id"]) == f"python -m study.rerun mine {row['run_id']}"
    task = __import__("study.tasks", fromlist=["load"]).load(s.run(row["run_id"]).task)
    batch = task.examples("test", torch.arange(task.size("test")))
    with torch.no_grad():
        scores = task.metrics(task.predictions(task.forward(model.eval(), batch), batch), batch)
    assert scores["accuracy"] == pytest.approx(row["test"], abs=1e-6), "the adapter scores what its run did"
    with pytest.raises(UsageError, match="kept no adapter of the tuned ether with seed 9"):
        s.adapter("ether", seed=9)
