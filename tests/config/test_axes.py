"""What may be an axis of a grid, what an override reaches, and that anything else is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from study import config
from study.config.grammar import text_keys
from study.errors import UsageError
from study.planning.runs import plan_runs
from study.settings import READ_BY_SOME_TASKS, is_axis, settings_by_key

VALUES = {  # of each setting that may be an axis: two values that it can take
    "method": "ether,lora", "lr": "1e-3,1e-2", "task.model": "shipped,/x", "task.data": "digits,/x",
    "task.precision": "float32,bfloat16", "task.gradient_checkpointing": "true,false",
    "task.target_modules": "[q_proj],[k_proj]", "task.accumulate": "1,2", "task.energy": "oft,null",
    "task.label_noise": "0.0,0.2",
}  # fmt: skip
UNREAD = {f"task.{name}" for name in READ_BY_SOME_TASKS}
NOT_AXES = sorted(key for key in {*settings_by_key(), "scale", "task", "launcher"} if not is_axis(key))


def test_the_whitelist() -> None:
    axes = {key for key in settings_by_key() if is_axis(key)}
    of_tasks = {key for key in settings_by_key() if key.startswith("task.")} - {"task.name", "task.scale"}
    assert axes == of_tasks | {"lr", "methods", "method", "seed"}
    assert is_axis("method") and is_axis("method.lora.r") and not is_axis("nonsense")


@pytest.mark.parametrize("key", NOT_AXES)
def test_no_other_setting_is_an_axis(key: str) -> None:
    """Not as `a,b`, and not as any of the grammar's other ways to give several values."""
    ways = ["1,2", "true,false", "choice(1,2)", "range(1,3)", "sort(2,1)", "[1],[2]"]
    for value in ways if key in text_keys() else [*ways, "1..2:2", "logspace(0,1,2)"]:
        with pytest.raises(UsageError, match=rf"{key}.*(takes one value|writ|what|{key}=)") as raised:
            config.load("lr_grid", [f"{key}={value}"])
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "key", sorted({key for key in settings_by_key() if is_axis(key)} - {"methods", "seed"} - UNREAD)
)
def test_every_other_setting_is_one(key: str) -> None:
    s = config.load("lr_grid", ["seeds=2", f"{key}={VALUES.get(key, '1,2')}"])
    plain = config.load("lr_grid", ["seeds=2"])
    values = {"method": len(s.methods) / len(plain.methods), "lr": len(s.lr) / len(plain.lr)}.get(key, 2)
    runs = plan_runs(s)
    assert len(runs) == len(plan_runs(plain)) * values and len({run.run_id for run in runs}) == len(runs)


@pytest.mark.parametrize("overrides,message", [
    (["methods=ether,lora", "dry_run=True,False"], "dry_run takes one value: it is not an axis of the grid"),
    (["method=lora", "method.hra.r=4"], "method.hra.r=4 reaches no run: the methods are lora"),
    (["method=lora", "method.hra.r=4,8"], "method.hra.r=4,8 reaches no run: the methods are lora"),
    (["task.subset=topic"], "task.subset=topic reaches no run: task vtab does not read it"),
    (["task.max_length=30,40"], "task.max_length=30,40 reaches no run: task vtab does not read it"),
    (["task.name=glue"], "task.name=glue: write task=NAME"),
    (["task.scale=paper"], "task.scale=paper: write scale=mini or scale=paper"),
    (["launcher.name=slurm"], "launcher.name=slurm: write launcher=NAME"),
    (["sweep=blocks"], "sweep=blocks: the sweep is what the command's first word names"),
    (["axes={task.steps:[1]}"], "write the setting itself with several values"),
    (["axes.task.steps=[1]"], "write the setting itself with several values"),
    (["points=[]"], "points=.*: points are written in a sweep's file"),
])  # fmt: skip
def test_what_reaches_nothing(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config.load("lr_grid", overrides)


def test_methods_is_method() -> None:
    for text in (
        "method=ether,lora",
        "methods=ether,lora",
        "methods=[ether,lora]",
        "method=choice(ether,lora)",
    ):
        s = config.load("lr_grid", [text])
        assert s.methods == ["ether", "lora"] and not s.axes and len(plan_runs(s)) == 2 * 9 * 5


def sweep_file(folder: Path, text: str) -> str:
    (folder / "sweeps").mkdir(exist_ok=True)
    (folder / "sweeps" / "mine.yaml").write_text(
        f"defaults: [base, {{task: vtab/mini}}, _self_]\nmethods: [ether, lora]\nseeds: 1\n{text}"
    )
    return "mine"


@pytest.mark.parametrize("text,message", [
    ("lr: [1]\naxes: {pack_size: [1, 2]}", "pack_size takes one value: it is not an axis"),
    ("lr: [1]\naxes: {dry_run: [true, false]}", "dry_run takes one value"),
    ("lr: [1]\npoints: [{seeds: 3}]", "seeds takes one value"),
    ("lr: [1]\npoints: [{lr: 2}]", "sweep mine sets lr for its points and in them"),
    ("lr: [1]\naxes: {task.steps: [1, 2]}\npoints: [{task.steps: 3}]", "sets task.steps for its points"),
    ("lr: [1]\naxes: {method.lora.r: [1, 2.5]}", "method lora: r=2.5 must be a whole number"),
    ("lr: [1]\npoints: [{method.lora.r: many}]", "method lora: r=many must be a whole number"),
    ("lr: [1]\nmethod: {lora: {rank: 4}}", "method lora has no option 'rank'; nearest: r"),
])  # fmt: skip
def test_a_sweeps_file_is_held_to_the_same(
    text: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=message):
        config.load(sweep_file(tmp_path, text), [])


def test_points_and_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every value that is given reaches runs: of points that have it, and of points that leave it open."""
    monkeypatch.chdir(tmp_path)
    points = (
        "lr: []\npoints:\n  - {method: ether, lr: 1e-2}\n  - {method: ether, lr: 1e-3}\n"
        "  - {method: lora, lr: 1e-2, task.steps: 10}\n  - {method: lora, lr: 1e-2, task.steps: 20}\n"
    )
    sweep = sweep_file(tmp_path, points)

    def runs(*overrides: str) -> list[tuple[str, float, int]]:
        return [(r.method, r.lr, r.task.steps) for r in plan_runs(config.load(sweep, list(overrides)))]

    assert runs("task.steps=10,20", "method=ether") == [
        ("ether", lr, steps) for lr in (1e-2, 1e-3) for steps in (10, 20)
    ]
    assert runs("task.steps=20") == [("ether", 1e-2, 20), ("ether", 1e-3, 20), ("lora", 1e-2, 20)]
    assert runs("lr=1,2", "method=ether") == [("ether", 1, 150), ("ether", 2, 150)]  # once, not per point
    for override, message in (
        ("task.steps=10,30", "task.steps=30: sweep mine has 10, 20"),
        ("method=ether,hra", "method=hra: sweep mine has ether, lora"),
        ("method.hra.r=3", "reaches no run: the methods are ether, lora"),
    ):
        with pytest.raises(UsageError, match=message):
            runs(override)
