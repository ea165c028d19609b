"""The scripts that make what ships: a few steps into an empty folder leave a checkpoint for its task."""

from __future__ import annotations

import hashlib
import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from study import config, tasks
from study.pretraining import prose as extraction
from study.pretraining import script
from study.tasks.miniature import prose

SCRIPTS = {"vit": "vtab", "deberta": "glue", "llama": "instruct"}
"""Each script's task."""


Run = Callable[..., int]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`python -m study.pretraining.NAME ARGUMENTS` in this process, where torch is loaded; its exit code."""

    def run(name: str, *arguments: str | Path) -> int:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *map(str, arguments)])
        monkeypatch.delitem(sys.modules, f"study.pretraining.{name}", raising=False)
        try:
            runpy.run_module(f"study.pretraining.{name}", run_name="__main__")
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    return run


def digests() -> dict[Path, str]:
    """Of all files that ship with the tasks."""
    folder = tasks.FOLDER
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert len(files) > 10
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_few_steps_leave_a_checkpoint_with_its_quality(
    name: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests()
    folder = tmp_path / "a" / name
    assert run(name, "--out", folder, "--steps", "3") == 0
    printed = capsys.readouterr().out
    assert re.search(r"^step 0 of 3: loss \d", printed, re.M)
    quality = json.loads((folder / "quality.json").read_text())
    shipped = tasks.shipped_checkpoint(SCRIPTS[name])
    assert quality.keys() == json.loads((shipped / "quality.json").read_text()).keys()
    assert json.dumps(quality, indent=2) in printed
    assert {file.name for file in folder.iterdir()} == {file.name for file in shipped.iterdir()}
    assert digests() == before
    task = tasks.load(config.load("lr_grid", [f"task={SCRIPTS[name]}", f"task.model={folder}"]).task)
    batch = task.batch(0, 0)
    assert torch.isfinite(task.losses(task.forward(task.model().eval(), batch), batch)).all()


@pytest.mark.parametrize("name", [*SCRIPTS, "prose"])
def test_help_trains_nothing_and_an_output_must_be_given(
    name: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests()
    assert run(name, "--help") == 0
    printed = capsys.readouterr().out
    assert "--out" in printed and "step 0" not in printed
    assert run(name) == 2
    assert "the following arguments are required: --out" in capsys.readouterr().err
    assert digests() == before


def test_arguments_that_make_no_sense(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    for name, arguments, message in (
        ("vit", ["--out", tmp_path / "file"], "file is a file; give a folder"),
        ("vit", ["--out", tmp_path / "new", "--steps", "0"], "--steps must be 1 or more, got 0"),
        ("prose", ["--out", tmp_path], "is a folder; give a file"),
    ):
        assert run(name, *arguments) == 2
        assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_warm_up_of_one_step_is_none() -> None:
    """torch's OneCycleLR divides by its length less one."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)])
    schedule = script.one_cycle(optimizer, 1.0, steps=20, warmup=0.05)
    rates = []
    for _ in range(20):
        rates += schedule.get_last_lr()
        optimizer.step()
        schedule.step()
    assert rates == sorted(rates, reverse=True) and rates[0] > 0.9


@pytest.mark.slow
def test_prose_is_extracted_from_the_python_that_runs(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = digests()
    assert run("prose", "--out", tmp_path / "new" / "prose.txt.gz") == 0
    paragraphs = prose.paragraphs(tmp_path / "new" / "prose.txt.gz")
    assert f"{len(paragraphs):,} paragraphs" in capsys.readouterr().out and len(paragraphs) > 5000
    shared = set(paragraphs) & set(prose.paragraphs())
    assert len(shared) > len(prose.paragraphs()) / 2
    assert digests() == before


def test_prose_is_told_from_code() -> None:
    assert extraction.is_prose("Return the value of the named attribute of object.")
    assert not extraction.is_prose(">>> print(1), and so on and so forth, with six words.")


def test_without_the_extra_a_script_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith(("study.pretraining.portraits", "study.tasks.miniature.portraits")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "diffusers", None)
    with pytest.raises(SystemExit) as refusal:
        runpy.run_module("study.pretraining.portraits", run_name="__main__")
    assert refusal.value.code == "diffusers is not installed: pip install 'ether-study[images]'"
