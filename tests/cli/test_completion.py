"""Tab: what the last word can become, and that bash really asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.paths import ROOT

from study.cli.commands import COMMANDS
from study.cli.completion import SCRIPTS, complete
from study.storage import records


@pytest.mark.parametrize("words,expected", [
    (["sw"], ["sweep"]),
    (["sweep", "lr_g"], ["lr_grid"]),
    (["sweep", "lr_grid", "task.ste"], ["task.steps="]),
    (["sweep", "lr_grid", "method=ether,lok"], ["method=ether,lokr"]),
    (["sweep", "lr_grid", "dry_run="], ["dry_run=false", "dry_run=true"]),
    (["sweep", "lr_grid", "task.precision=b"], ["task.precision=bfloat16"]),
    (["sweep", "lr_grid", "task=v"], ["task=vtab"]),
    (["compare", "ether_"], ["ether_plus"]),
    (["compare", "gai"], ["gain.py"]),
    (["compare", "hra", "baseline=ether_"], ["baseline=ether_plus"]),
    (["status", ""], ["compare/gain", "mine", "results="]),
    (["rerun", "mi"], ["mine"]),
    (["completion", ""], ["bash", "fish", "results=", "zsh"]),
    (["nonsense", "x"], []),
])  # fmt: skip
def test_words(
    words: list[str], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gain.py").touch()
    for study in ("mine", "compare/gain"):
        (tmp_path / "results" / study).mkdir(parents=True)
        (tmp_path / "results" / study / "plan.json").touch()
    assert complete(words) == expected


def test_the_runs_of_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "tests" / "golden" / "old" / "v4", tmp_path / "results" / "old")
    run_ids = records.statuses(tmp_path / "results" / "old")
    assert len(run_ids) == 4 and set(complete(["rerun", "old", ""])) == {*run_ids, "results="}


def test_all_commands_without_a_word() -> None:
    assert complete([]) == complete([""]) == sorted(COMMANDS)


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
@pytest.mark.parametrize("line,expected", [
    ("ether-study stat", "status"),
    ("ether-study sweep lr_grid scale=mi", "mini"),
    ("ether-study sweep lr_grid task.ste", "task.steps="),
])  # fmt: skip
def test_bash_completes(line: str, expected: str, tmp_path: Path) -> None:
    """Bash cuts words at `=`, and wants the part behind it alone."""
    program = tmp_path / "ether-study"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m study "$@"\n')
    program.chmod(0o755)
    words = line.replace("=", " = ").split()
    script = (
        f"{SCRIPTS['bash']}\nCOMP_LINE='{line}'; COMP_POINT={len(line)}; COMP_WORDS=({' '.join(words)}); "
        f'COMP_CWORD={len(words) - 1}; compopt() {{ :; }}; _ether_study; echo "${{COMPREPLY[@]}}"'
    )
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    found = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environment)
    assert found.stdout.strip() == expected, found.stderr
