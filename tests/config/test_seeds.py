"""Which seeds: how many, or these alone; and the settings as YAML, which make the same runs again."""

from __future__ import annotations

from pathlib import Path

import pytest

from study import config
from study.planning.runs import plan_runs


def seeds(*given: str) -> list[int]:
    return list(dict.fromkeys(run.seed for run in plan_runs(config.load("lr_grid", list(given)))))


@pytest.mark.parametrize("given,expected", [
    ([], [0, 1, 2, 3, 4]),
    (["seeds=2"], [0, 1]),
    (["seed=3"], [3]),
    (["seed=3,7"], [3, 7]),
    (["seed=[3,7]"], [3, 7]),
    (["seeds=[3,7]"], [3, 7]),
    (["seeds=[3]"], [3]),
    (["seed=3", "seed=4"], [4]),
])  # fmt: skip
def test_the_seeds_of_a_study(given: list[str], expected: list[int]) -> None:
    assert seeds(*given) == expected


def test_a_seed_alone_is_the_run_that_it_is_among_others() -> None:
    few = ["method=ether", "lr=1e-2"]
    among = {run.seed: run.run_id for run in plan_runs(config.load("lr_grid", [*few, "seeds=5"]))}
    (alone,) = plan_runs(config.load("lr_grid", [*few, "seed=3"]))
    assert alone.run_id == among[3]


@pytest.mark.parametrize("written,given,expected", [
    ("seeds: [3, 7]", [], [3, 7]),
    ("seed: [3, 7]", [], [3, 7]),
    ("seed: [3, 7]", ["seeds=2"], [0, 1]),
    ("seeds: [3, 7]", ["seed=5"], [5]),
])  # fmt: skip
def test_seeds_in_a_sweeps_file(
    written: str, given: list[str], expected: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    text = f"defaults: [base, {{task: vtab/mini}}, _self_]\nmethods: [lora]\nlr: [1e-3]\n{written}\n"
    (tmp_path / "sweeps" / "mine.yaml").write_text(text)
    assert [run.seed for run in plan_runs(config.load("mine", given))] == expected


@pytest.mark.parametrize("sweep,given", [
    ("lr_grid", ["seeds=[3,7]", "method=ether,hra", "method.ether.blocks=1,4", "task.steps=7"]),
    ("glue_paper", []),
    ("perturbation", ["task=s2i"]),
    ("lr_grid", ["launcher=slurm", "launcher.partition=gpu", "scale=paper", "task=glue", "task.subset=rte"]),
])  # fmt: skip
def test_printed_settings_are_a_sweep_of_the_same_runs(
    sweep: str, given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = config.load(sweep, given)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "printed.yaml").write_text(config.as_yaml(settings))
    again = config.load("printed", [])
    assert plan_runs(again) == plan_runs(settings) and len(plan_runs(settings)) > 0
    settings.sweep = "printed"
    assert again == settings
