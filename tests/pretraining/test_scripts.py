"""The scripts that make what ships: a few steps into an empty folder leave a checkpoint for its task."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from study import config, tasks
from study.pretraining import prose as extraction
from study.tasks.miniature import prose

SCRIPTS = {"vit": "vtab", "deberta": "glue", "llama": "instruct"}
"""Each script's task."""


def run(name: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"study.pretraining.{name}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


def digests() -> dict[Path, str]:
    """Of all files that ship with the tasks."""
    folder = tasks.FOLDER
    files = [p for p in folder.rglob("*") if p.is_file() and p.suffix not in (".py", ".pyc")]
    assert len(files) > 10
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


@pytest.mark.slow
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_few_steps_leave_a_checkpoint_with_its_quality(name: str, tmp_path: Path) -> None:
    before = digests()
    folder = tmp_path / "a" / name
    done = run(name, "--out", folder, "--steps", "3")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^step 0 of 3: loss \d", done.stdout, re.M)
    quality = json.loads((folder / "quality.json").read_text())
    shipped = tasks.shipped_checkpoint(SCRIPTS[name])
    assert quality.keys() == json.loads((shipped / "quality.json").read_text()).keys()
    assert json.dumps(quality, indent=2) in done.stdout
    assert {file.name for file in folder.iterdir()} == {file.name for file in shipped.iterdir()}
    assert digests() == before
    task = tasks.load(config.load("lr_grid", [f"task={SCRIPTS[name]}", f"task.model={folder}"]).task)
    batch = task.batch(0, 0)
    assert torch.isfinite(task.losses(task.forward(task.model().eval(), batch), batch)).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", [*SCRIPTS, "prose"])
def test_help_trains_nothing_and_a_folder_must_be_given(name: str, tmp_path: Path) -> None:
    shown = run(name, "--help")
    assert shown.returncode == 0 and "--out" in shown.stdout and "step 0" not in shown.stdout
    refused = run(name)
    assert refused.returncode == 2 and "the following arguments are required: --out" in refused.stderr


def test_arguments_that_make_no_sense(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for arguments, message in (
        (["--out", tmp_path / "file"], "file is a file; give a folder"),
        (["--out", tmp_path / "new", "--steps", "0"], "--steps must be 1 or more, got 0"),
    ):
        refused = run("vit", *arguments)
        assert refused.returncode == 2 and message in refused.stderr
    refused = run("prose", "--out", tmp_path)
    assert refused.returncode == 2 and "is a folder; give a file" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.slow
def test_prose_is_extracted_from_the_python_that_runs(tmp_path: Path) -> None:
    before = digests()
    done = run("prose", "--out", tmp_path / "new" / "prose.txt.gz")
    assert done.returncode == 0, done.stderr
    paragraphs = prose.paragraphs(tmp_path / "new" / "prose.txt.gz")
    assert f"{len(paragraphs):,} paragraphs" in done.stdout and len(paragraphs) > 5000
    shared = set(paragraphs) & set(prose.paragraphs())
    assert len(shared) > len(prose.paragraphs()) / 2
    assert digests() == before
    assert extraction.is_prose("Return the value of the named attribute of object.")
    assert not extraction.is_prose(">>> print(1), and so on and so forth, with six words.")
