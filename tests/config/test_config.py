"""Settings and bad input: each mistake gets one clear line and exit code 2 before any training."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from study import config
from study.config.checks import check_sources
from study.errors import UsageError
from study.planning.runs import group_by_variant, plan_runs, variant_titles
from study.storage.schema import RECORD_VERSION
from study.tasks import shipped_checkpoint

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_overrides_reach_their_places() -> None:
    s = config.load(
        "lr_grid",
        ["method=ether,lora", "lr=1e-3,1e-2", "seeds=3", "task.steps=100", "method.ether.blocks=8",
         "name=my_study", "task.weight_decay=0,0.1", "task.model=/some/path", "pack_size=1"],
    )  # fmt: skip
    assert s.methods == ["ether", "lora"] and s.lr == [1e-3, 1e-2] and s.seeds == 3
    assert s.task.steps == 100 and s.task.model == "/some/path"
    assert s.method["ether"]["blocks"] == 8 and s.method["lora"]["r"] == 8
    assert s.name == "my_study" and s.sweep == "lr_grid" and s.pack_size == 1
    assert s.axes == {"task.weight_decay": [0, 0.1]}


def test_one_value_is_a_list_of_one() -> None:
    s = config.load("lr_grid", ["method=hra", "lr=1e-3", "method.hra.r=2,4"])
    assert s.methods == ["hra"] and s.lr == [1e-3] and s.axes == {"method.hra.r": [2, 4]}


def test_the_sweep_of_the_issue() -> None:
    s = config.load("lr_grid", [])
    assert s.methods == ["ether", "ether_plus", "lora", "oft", "naive"]
    assert len(s.lr) == 9 and s.lr[0] == 1e-4 and s.lr[-1] == 1 and s.seeds == 5
    assert s.name == "lr_grid" and s.task.scale == "mini"


@pytest.mark.parametrize("overrides,message", [
    (["method=ehter"], "unknown method 'ehter'; nearest: ether"),
    (["task=vtba"], "unknown task 'vtba'; nearest: vtab"),
    (["scale=micro"], "task vtab has no scale 'micro'; known: mini, paper"),
    (["task.stpes=3"], "unknown key 'task.stpes'; nearest: task.steps"),
    (["seedz=3"], "unknown key 'seedz'; nearest: seeds?, seeds?"),
    (["method.ether.blokcs=3"], "method ether has no option 'blokcs'; nearest: blocks"),
    (["method.ehter.blocks=3"], "unknown method 'ehter'"),
    (["lr=-1e-3"], "lr=-0.001 is not a learning rate; give positive, finite numbers"),
    (["lr=0"], "lr=0.0 is not a learning rate"),
    (["lr=nan"], "lr=nan is not a learning rate"),
    (["lr=inf,1"], "lr=inf is not a learning rate"),
    (["lr=1e-3,0.001"], "lr repeats 0.001"),
    (["lr=[]"], "lr is empty"),
    (["lr=fast"], "lr=fast is not a number; write lr=1e-3,1e-2"),
    (["method=ether,ether"], "method repeats ether"),
    (["seeds=0"], "seeds=0 must be positive"),
    (["seeds=two"], "seeds=two: .*could not be converted to Integer"),
    (["task.steps=-5"], "task.steps=-5 must be zero or more"),
    (["task.weight_decay=-1"], "task.weight_decay=-1.0 must be zero or more"),
    (["task.head_lr=nan"], "task.head_lr=nan must be positive"),
    (["task.precision=float8"], "task.precision=float8 is not one of: float32, bfloat16"),
    (["task.weight_decay=0,-1"], "task.weight_decay=-1 must be zero or more"),
    (["task.clip=null,0"], "task.clip=0 must be positive"),
    (["task.clip=1,two"], "task.clip=two: .*could not be converted to Float"),
    (["task.clip=1,'2'"], "task.clip='2' is text, not a number"),
    (["task.steps=1,2.5"], "task.steps=2.5: .*could not be converted to Integer"),
    (["pack_size=1,2"], "pack_size takes one value: it is not an axis of the grid"),
    (["task.precision=float32,float8"], "task.precision=float8 is not one of: float32, bfloat16"),
    (["retry=all"], "retry=all is not one of: failed"),
    (["name=../up"], "name=../up is not a folder's name"),
    (["dry_run"], "'dry_run' is not an override; write key=value"),
    (["lr=(1"], "cannot read lr=.1"),
    (['lr="1e-3"'], "lr='1e-3' is text, not a number; write it without quotes"),
    (["task=vtab,glue"], "task takes one value: it is not an axis"),
    (["pack_size=0"], "pack_size=0 must be positive"),
    (["pack_size=2.5"], "pack_size=2.5: .*could not be converted to Integer"),
    (["checkpoint_s=0"], "checkpoint_s=0.0 must be positive"),
    (["prefetch=perhaps"], "prefetch=perhaps: .*not a valid bool"),
    (["launcher=slrm"], "unknown launcher 'slrm'; nearest: slurm"),
    (["launcher=local,slurm"], "launcher takes one value"),
    (["launcher.workers=1,2"], "launcher.workers takes one value"),
    (["launcher.partition=gpu"], "launcher.partition is for Slurm; give launcher=slurm as well"),
    (["launcher=slurm", "launcher.partitoin=gpu"], "unknown key .*; nearest: launcher.partition"),
    (["launcher=slurm", "launcher.workers=2"], "launcher.workers is for launcher=local"),
    (["launcher=slurm", "launcher.timeout_min=0"], "launcher.timeout_min=0 must be positive"),
    (["launcher=slurm", "launcher.cpus_per_task=two"], "cpus_per_task=two: .*converted to Integer"),
    (["detach=true"], "detach=true needs launcher=slurm"),
])  # fmt: skip
def test_bad_overrides(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        config.load("lr_grid", overrides)


@pytest.mark.parametrize("key,value,message", [
    ("task.model", "./nowhere", "task.model=./nowhere: no such folder"),
    ("task.data", "/no/where", "task.data=/no/where: no such folder"),
    ("task.model", "models/vit_s", "task.model=models/vit_s: no such folder; nearest: models/vit_b"),
    ("task.model", "gogle/vit", "gogle/vit: no such folder, and not in the hub's cache .*prefetch=true"),
])  # fmt: skip
def test_what_is_plainly_not_there(
    key: str, value: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Paths to nothing, one that looks like a hub name, and a hub name where there is no internet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "models" / "vit_b").mkdir(parents=True)
    with pytest.raises(UsageError, match=message):
        check_sources(config.load("lr_grid", [f"{key}={value}"]))
    check_sources(config.load("lr_grid", ["task.model=models/vit_b"]))


def test_launcher_slurm_where_there_is_none(
    study_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    refused(study_command("study.sweep", "lr_grid", "launcher=slurm"), "no sbatch on this machine")
    assert not (tmp_path / "results").exists()  # before anything is measured


def test_a_rate_in_quotes_in_a_sweep_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "mine.yaml").write_text(
        "defaults: [base, {task: vtab/mini}, _self_]\nlr: [1e-3, '1e-2']\n"
    )
    with pytest.raises(UsageError, match="lr='1e-2' is text, not a number"):
        config.load("mine", [])


def test_a_cluster_of_ones_own_is_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sweeps" / "launcher").mkdir(parents=True)
    (tmp_path / "sweeps" / "launcher" / "ours.yaml").write_text(
        "name: slurm\npartition: a100\nsetup: [module load cuda]\nadditional_parameters: {nice: 10}\n"
    )
    launcher = config.load(
        "lr_grid", ["launcher=ours", "launcher.additional_parameters.reservation=x"]
    ).launcher
    assert (launcher.name, launcher.partition, launcher.setup) == ("slurm", "a100", ["module load cuda"])
    assert launcher.additional_parameters == {"nice": 10, "reservation": "x"}


def test_unknown_sweep() -> None:
    with pytest.raises(UsageError, match="unknown sweep 'lr_gird'; nearest: lr_grid"):
        config.load("lr_gird", [])


def refused(result: subprocess.CompletedProcess[str], *words: str) -> None:
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
    for word in words:
        assert word in lines[0]


def test_help_and_dry_run_answer_at_once_without_torch(study_command: Command) -> None:
    code = (
        "import sys, runpy; sys.argv[1:] = {}\n"
        "try: runpy.run_module('study.sweep', run_name='__main__')\n"
        "except SystemExit as end: code = end.code\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules; sys.exit(code)"
    )
    for arguments in (["--help"], ["lr_grid", "dry_run=true"]):
        start = time.monotonic()
        result = subprocess.run(
            [sys.executable, "-c", code.format(arguments)], capture_output=True, text=True
        )
        print(f"{arguments}: {time.monotonic() - start:.2f} s")  # seen with -s; the README quotes it
        assert result.returncode == 0, result.stderr
    assert "225 runs" in result.stdout and "1,728 parameters" in result.stdout
    assert study_command("study.sweep").returncode == 2


def test_a_dry_run_of_something_new_says_what_it_cannot_know(study_command: Command) -> None:
    unmeasured = "task.batch_size=11"  # of no reference study, whose measurements a dry run would use
    result = study_command("study.sweep", "lr_grid", "dry_run=true", "method.ether.blocks=8", unmeasured)
    assert result.returncode == 0 and "time are measured at launch" in result.stdout
    assert "ether (blocks=8): 45 runs; 1,728 parameters" in result.stdout  # which the model's shape tells


@pytest.mark.slow
def test_what_only_the_model_can_tell_is_told_before_training(study_command: Command, tmp_path: Path) -> None:
    blocks = study_command("study.sweep", "lr_grid", "method=ether", "method.ether.blocks=5")
    refused(blocks, "method ether", "blocks=5 does not divide the width 64", "q_proj", "4 or 8")
    corrupt = tmp_path / "corrupt"
    shutil.copytree(shipped_checkpoint("vtab"), corrupt)
    weights = corrupt / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    refused(
        study_command("study.sweep", "lr_grid", "task.model=./corrupt"),
        "./corrupt: cannot be loaded",
    )
    data = study_command("study.sweep", "lr_grid", "task.data=./nothing")
    refused(data, "task.data=./nothing")
    unknown_option = study_command("study.sweep", "lr_grid", "method=lora", "+method.lora.r=-3")
    refused(unknown_option, "method lora", "positive")
    assert not list((tmp_path / "results").rglob("records"))


def test_a_folder_that_cannot_be_written(study_command: Command, tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where the folder should be")
    refused(study_command("study.sweep", "lr_grid"), "cannot write in results/lr_grid")


def test_results_of_a_newer_version(study_command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "lr_grid"
    folder.mkdir(parents=True)
    plan = {"record_version": RECORD_VERSION + 1, "settings": {}, "packs": []}
    (folder / "plan.json").write_text(json.dumps(plan))
    refused(study_command("study.sweep", "lr_grid"), "newer version", "give another name=")


def test_a_folder_with_another_study(study_command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "results" / "lr_grid"
    folder.mkdir(parents=True)
    task = dataclasses.asdict(config.load("lr_grid", ["task.steps=7"]).task)
    plan = {"record_version": RECORD_VERSION, "settings": {"task": task}, "packs": []}
    (folder / "plan.json").write_text(json.dumps(plan))
    refused(study_command("study.sweep", "lr_grid"), "holds runs with task.steps=7, not 150")


def test_points_are_settings_that_belong_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps" / "pairs.yaml").write_text(
        "defaults: [base, {task: vtab/mini}, _self_]\nmethods: [ether, lora]\nlr: []\nseeds: 2\npoints:\n"
        "  - {method: ether, lr: 1e-2, task.batch_size: 8}\n"
        "  - {method: ether, lr: 1e-3, task.batch_size: 16}\n"
        "  - {method: lora, method.lora.r: 2, lr: 5e-4}\n"
    )
    monkeypatch.chdir(tmp_path)

    def chosen(*overrides: str) -> list[tuple[Any, ...]]:
        runs = plan_runs(config.load("pairs", list(overrides)))
        return [(r.method, r.lr, r.task.batch_size, r.options.get("r"), r.seed) for r in runs]

    ether, lora = [("ether", 1e-2, 8, None), ("ether", 1e-3, 16, None)], [("lora", 5e-4, 16, 2)]
    assert chosen() == [(*point, seed) for point in ether + lora for seed in (0, 1)]
    assert chosen("method=ether", "seeds=1") == [(*point, 0) for point in ether]
    assert chosen("task.batch_size=8", "method=ether", "seeds=1") == [(*ether[0], 0)]
    assert [run[1] for run in chosen("method=lora", "seeds=1", "lr=1,2")] == [1, 2]
    weighed = chosen("method=lora", "seeds=1", "task.weight_decay=0,0.1")
    assert weighed == [(*lora[0], 0)] * 2
    for override, message in (
        ("task.batch_size=9", "task.batch_size=9: sweep pairs has 8, 16"),
        ("method=oft", "method=oft: sweep pairs has ether, lora"),
    ):
        with pytest.raises(UsageError, match=message):
            chosen(override)
    text = (tmp_path / "sweeps" / "pairs.yaml").read_text()
    for wrong, message in (
        ("lr: 1e-2", "lr=0.0 is not"),
        ("task.batch_size: 8", "unknown key 'task.bach_size'"),
    ):
        worse = {"lr: 1e-2": "lr: 0.0", "task.batch_size: 8": "task.bach_size: 8"}[wrong]
        (tmp_path / "sweeps" / "pairs.yaml").write_text(text.replace(wrong, worse))
        with pytest.raises(UsageError, match=message):
            chosen()


def test_a_study_on_another_task_has_a_name_of_its_own() -> None:
    names = {
        "lr_grid": [],
        "lr_grid_vtab_paper": ["scale=paper"],
        "mine": ["scale=paper", "name=mine"],
    }
    for name, overrides in names.items():
        assert config.load("lr_grid", overrides).name == name
    assert config.load("head_alone", []).name == "head_alone"
    assert config.load("head_alone", ["task.subset=topic"]).name == "head_alone_glue_topic"


def test_one_value_takes_the_place_of_a_list_of_the_sweeps_own() -> None:
    all_runs, topic_runs = (
        plan_runs(config.load("head_alone", given)) for given in ([], ["task.subset=topic"])
    )
    assert topic_runs == [run for run in all_runs if run.task.subset == "topic"]
    titles = list(variant_titles(group_by_variant(all_runs)).values())
    assert len(set(titles)) == 20 and titles[0].endswith(" task.subset=acceptability task.head_lr=0.0003")
