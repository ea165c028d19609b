"""A space as it is written: what is read, and what is refused in one line before any work starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from study import config
from study.errors import UsageError
from study.planning.runs import plan_runs


def refusal(*overrides: str, sweep: str = "space") -> str:
    with pytest.raises(UsageError) as refused:
        config.load(sweep, list(overrides))
    assert "\n" not in str(refused.value)
    return str(refused.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("lr={log:[0,1]}", "0 has no logarithm"),
        ("lr={log:[-1,1]}", "-1 has no logarithm"),
        ("lr={log:[1,1e-3]}", "is reversed: write [0.001, 1]"),
        ("task.weight_decay={float:[0.1,0]}", "is reversed"),
        ("lr={log:[1,1]}", "is empty: its ends are the same"),
        ("lr={log:[1]}", "a range has two ends"),
        ("lr={log:[a,b]}", "which are numbers"),
        ("lr=[]", "it has no choices"),
        ("lr=1e-2,1e-2", "repeats 0.01"),
        ("lr={float:[0,1]}", "lr=0 in the space is not a learning rate"),
        ("task.weight_decay={float:[-1,1]}", "task.weight_decay=-1 must be zero or more"),
        (
            "method.lora.r={float:[1,4]}",
            "r=2.11 must be a whole number; if it takes whole numbers, write {int",
        ),
        ("method.lora.r={int:[0,4]}", "r=0 must be positive"),
        ("method.lora.r={int:[1.5,4]}", "the ends of whole numbers are whole"),
        ("method.lora.rang=1,2", "method lora has no option 'rang'"),
        ("method.hra.r=1,2", "reaches no run"),
        ("weight_decay={float:[0,1]}", "unknown key 'weight_decay'; nearest: task.weight_decay"),
        ("task.subset=a,b", "task vtab does not read it"),
        ("task.data=a,b", "scores on different data do not compare"),
        ("task.steps={int:[50,500]}", "would let nearly every trial train alone"),
        ("task.clip={log:[0.1,1]}", "would let nearly every trial train alone"),
        ("sampler=grid", "sampler=grid is not one of: random, qmc, tpe, gp"),
        ("trials=0", "trials=0 must be positive"),
        ("sampler_seed=-1", "must be zero or more"),
        ("wave=5", "wave=5 does nothing: sampler=random draws all trials at once"),
        ("pruner=median", "pruner=median is not one of: none, halving, hyperband"),
        ("rungs=1", "rungs=1 does nothing without a pruner"),
        ("reduction=2", "reduction=2 does nothing without a pruner"),
        ("save_adapters=best", "save_adapters=best is of a grid's tuned rates"),
        ("space={}", "write the setting itself"),
    ],
)
def test_bad_spaces_are_refused_in_one_line(given: str, said: str) -> None:
    assert said in refusal(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["rungs=3"], "judge a run at 1/27, 1/9, 1/3 of its steps; give task.evaluations=27, or fewer rungs"),
        (["task.evaluations=2"], "with task.evaluations=2 are too few"),
        (["task.evaluations=1", "rungs=1"], "are too few"),
        (["task.evaluations=6,2"], "with task.evaluations=2 are too few"),
        (["task.steps=150,2"], "2 steps with task.evaluations=6 are too few"),
        (["task.steps=0"], "0 steps with task.evaluations=6 are too few"),
        (["task.evaluations=0"], "150 steps with task.evaluations=0 are too few"),
        (["reduction=1"], "reduction=1 must be 2 or more"),
        (["rungs=0"], "rungs=0 must be positive"),
    ],
)
def test_rungs_that_a_run_does_not_have_are_refused(given: list[str], said: str) -> None:
    assert said in refusal("pruner=halving", *given)


def test_what_is_of_spaces_does_nothing_in_a_grid() -> None:
    assert "trials=3 does nothing: sweep lr_grid is a grid" in refusal("trials=3", sweep="lr_grid")
    assert "sweep lr_grid is a grid" in refusal("lr={log:[1e-4,1]}", sweep="lr_grid")


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("{task.steps: 100}", "task.steps=100 in the space is one value, not a range"),
        ("{task.steps: [100]}", "its only choice is 100; give several, or set task.steps outside"),
        ("{lr: {lg: [1, 2]}}", "is neither a range nor choices"),
        ("{lr: {log: [1e-3, 1]}, method: [lora, oft]}", "write methods: [ether, lora]"),
        ("{lr: {log: [1e-3, 1]}, seed: [1, 2]}", "seeds are no hyperparameter"),
        ("{lr: {log: [1e-3, 1]}, results: [a, b]}", "results cannot vary in a space"),
        ("{lr: {log: [1e-3, 1]}, method.nolora.r: [1, 2]}", "unknown method 'nolora'"),
        ("{method.oft.blocks: [4, 8]}", "lr: give one rate, or let it vary"),
        ("{lr: {log: [1e-3, 1]}}\naxes: {task.steps: [1, 2]}", "has a space and axes"),
        ("{lr: {log: [1e-3, 1]}}\nlr: [1e-2]", "sets lr for its space and in it"),
        ("{method.oft.blocks: [4, 8]}\nlr: [1e-2]", "nothing that varies for method lora"),
    ],
)
def test_bad_files_are_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str, said: str
) -> None:
    head = "defaults: [base, {task: vtab/mini}, _self_]\nmethods: [lora]\n"
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(f"{head}space: {written}\n")
    monkeypatch.chdir(tmp_path)
    assert said in refusal(sweep="mine")


def test_an_override_is_a_range_choices_or_takes_the_key_out() -> None:
    settings = config.load("space", ["lr={log:[1e-3,1]}", "task.batch_size=8,16", "task.weight_decay=0.01"])
    assert settings.space["lr"] == {"log": [1e-3, 1]}
    assert settings.space["task.batch_size"] == [8, 16]
    assert "task.weight_decay" not in settings.space
    assert settings.task.weight_decay == 0.01


def test_one_rate_or_several_in_the_place_of_a_range() -> None:
    assert config.load("space", ["lr=1e-2"]).lr == [1e-2]
    assert config.load("space", ["lr=1e-2,1e-1"]).space["lr"] == [1e-2, 1e-1]
    assert len(config.load("space", ["lr=1e-4..1:9"]).space["lr"]) == 9


def test_a_short_range_of_whole_numbers_may_split_packs() -> None:
    assert config.load("space", ["method.lora.r={int:[1,4]}"]).space["method.lora.r"] == {"int": [1, 4]}


def test_what_a_grid_is_has_not_changed() -> None:
    assert not config.load("lr_grid", []).space
    assert len(plan_runs(config.load("lr_grid", []))) == 225
