"""`python -m study.compare`: what it takes, what it refuses, and one comparison from end to end."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from peft import PeftModel
from support.method_files import SCALING, written
from support.sweeps_under_test import Command, table

from study import tasks
from study.compare import COMMAND
from study.config.compose import load
from study.methods import external
from study.storage import adapters
from study.training.passes import evaluate

GRID = ["lr=1e-3,1e-2,1e-1", "seeds=2", "task.steps=8", "task.evaluations=2", "pack_size=3"]


@pytest.fixture(autouse=True)
def no_method_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(external.VARIABLE, "")


def test_what_stands_on_the_command_line() -> None:
    names, keys, overrides = COMMAND.parse(
        ["hra=peft:HRA,r=4", "peft:BOFT", "my.py", "baseline=ether_plus,blocks=2", "lr=1e-3,1e-2",
         "task.steps=5", "task=vtab", "sweep=lr_grid", "seeds=3"]
    )  # fmt: skip
    assert names == ["hra=peft:HRA,r=4", "peft:BOFT", "my.py"]
    assert keys == {"baseline": "ether_plus,blocks=2", "sweep": "lr_grid", "name": "", "cfg": ""}
    assert overrides == ["lr=1e-3,1e-2", "task.steps=5", "task=vtab", "seeds=3"]


@pytest.mark.slow
def test_a_comparison_from_end_to_end(study_command: Command, tmp_path: Path) -> None:
    written(tmp_path, "scaling", SCALING.group(1))
    done = study_command("study.sweep", "lr_grid", *GRID, "method=ether", "report=false")
    assert done.returncode == 0, done.stderr
    command = ["scaling.py", "hra=peft:HRA,r=2", "hra4=peft:HRA,r=4", *GRID]
    first = study_command("study.compare", *command)
    assert first.returncode == 0, first.stderr
    assert "6 runs are there already, in results/lr_grid" in first.stdout
    study = tmp_path / "results" / "compare" / "scaling_hra_hra4"
    assert f"report: results/compare/{study.name}/report.html" in first.stdout
    assert len(table(study)) == 24
    rows = pd.read_csv(study / "comparison.csv")
    assert len(rows) == 3 * 4
    robustness = pd.read_csv(study / "robustness.csv")
    assert robustness.label.tolist() == ["ether", "scaling", "hra", "hra4"]
    again = study_command("study.compare", *command)
    assert again.returncode == 0 and "packs" not in again.stdout

    best = sorted(adapters.saved(study))
    runs = table(study).set_index("run_id")
    assert runs.loc[best].method.value_counts().to_dict() == {"hra": 4, "scaling": 2}  # both seeds each
    assert "ether is best at lr=" in first.stdout and "where 2 of 2 seeds have none" in first.stdout
    settings = load("lr_grid", ["task.steps=8"]).task
    task = tasks.load(settings)
    for run_id in best:
        folder = adapters.folder_of(study, run_id)
        card = (folder / "README.md").read_text()
        assert "library_name: peft" in card and (folder / "adapter_model.safetensors").exists()
        if runs.method[run_id] == "hra":
            model = PeftModel.from_pretrained(task.model(), folder).base_model.model
            assert evaluate(task, model, "test").primary == pytest.approx(runs.test[run_id], abs=0.01)


@pytest.mark.slow
def test_the_contract_of_a_file_of_ones_own(study_command: Command, tmp_path: Path) -> None:
    written(tmp_path, "scaling", SCALING.group(1))
    intact = study_command("study.compare", "--check", "scaling.py")
    assert intact.returncode == 0 and "checks passed" in intact.stdout, intact.stdout + intact.stderr
    cut = SCALING.group(1).replace(
        'p["scaling_factors"].flatten()', 'p["scaling_factors"].detach().flatten()'
    )
    written(tmp_path, "broken", cut.replace("scaling", "broken"))
    broken = study_command("study.compare", "--check", "broken.py")
    assert broken.returncode == 1 and "BROKEN" in broken.stdout


def test_bad_input_is_one_line(study_command: Command) -> None:
    for arguments, words in (
        (["peft:HRRA"], "no tuner 'HRRA'"),
        (["peft:HRA", "baseline=nothing"], "unknown method 'nothing'"),
        (["peft:HRA", "sweep=lr_gird"], "unknown sweep 'lr_gird'"),
        (["peft:HRA", "peft:HRA"], "peft:HRA stands there twice"),
        (["peft:HRA", "method.hra.r=4"], "give options with their method"),
        (["seeds=3"], "no method to compare"),
        (["peft:HRA", "seedz=3"], "unknown key 'seedz'; nearest: seed, seeds"),
        (["same=ether"], "ether and same are the same"),
        (["--check"], "--check takes one METHOD"),
        (
            ["peft:HRA", "task=glue", "task.subset=topic,similarity"],
            "task.subset: methods are compared on one",
        ),
    ):
        refused = study_command("study.compare", *arguments)
        lines = refused.stderr.strip().splitlines()
        assert refused.returncode == 2 and len(lines) == 1 and words in lines[0], refused.stderr
