"""sweeps/atlas.yaml: every method that trains here, over the grid of lr_grid."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from support.method_files import SCALING, written

from study import compare, methods
from study.config import load
from study.methods import external
from study.planning.runs import plan_runs


def test_it_lists_exactly_what_trains_here() -> None:
    """A new peft makes this fail until the list follows."""
    own = methods.own_names()
    trains = {name for name in methods.names() if not methods.refusal(name, {})} - external.sources().keys()
    plain = {name.removeprefix("peft:") for name in trains if name.startswith("peft:")} - own
    listed = load("atlas", []).methods
    assert set(listed) == own | plain | {f"peft:{name}" for name in own if f"peft:{name}" in trains}
    assert len(listed) == len(set(listed))


def test_the_runs_of_lr_grid_are_among_its_own() -> None:
    """So they can be taken over; its grid is the same for every method."""
    for overrides in ([], ["task=glue", "task.subset=topic"]):
        of_grid = {run.run_id for run in plan_runs(load("lr_grid", overrides))}
        assert of_grid <= {run.run_id for run in plan_runs(load("atlas", overrides))}
    assert load("atlas", []).lr == load("lr_grid", []).lr and load("atlas", []).seeds == 5


def test_a_method_of_ones_own_is_compared_on_its_grid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(external.VARIABLE, "")
    path = written(tmp_path, "scaling", SCALING.group(1))
    assert compare.main([str(path), "c3a", "sweep=atlas", "--cfg", "task=instruct"]) == 0
    baseline, scaling, c3a = yaml.safe_load_all(capsys.readouterr().out)
    assert baseline["methods"] == ["ether"] and scaling["methods"] == ["scaling"]
    assert baseline["lr"] == scaling["lr"] == load("atlas", []).lr
    assert scaling["task"]["name"] == "instruct" and scaling["sweep"] == "atlas"
    assert c3a["method"]["c3a"]["block_size"] == 32
