"""`ether-study`: every command under one name, which help and messages then use."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from support.paths import ROOT

from study.__main__ import main
from study.cli.commands import COMMANDS


def test_the_script_of_the_package_is_this_function() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    module, _, name = scripts["ether-study"].partition(":")
    assert getattr(importlib.import_module(module), name) is main


def test_without_a_command_all_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["--help"]):
        assert main(arguments) == 0
        listed = re.findall(r"^  (\w+) ", capsys.readouterr().out, re.M)
        assert listed == [*COMMANDS]


def test_versions(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--version"], ["sweep", "--version"], ["report", "--version"]):
        assert main(arguments) == 0
        out = capsys.readouterr().out
        assert out.startswith(f"ether-study {version('ether-study')}, torch {version('torch')}")


@pytest.mark.parametrize("word", COMMANDS)
@pytest.mark.parametrize("called", ["/somewhere/bin/ether-study", str(ROOT / "study" / "__main__.py")])
def test_help_names_the_command_as_it_was_called(
    word: str, called: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [called, word, "--help"])
    assert main() == 0
    way = "ether-study" if called.endswith("ether-study") else "python -m study"
    assert capsys.readouterr().out.startswith(f"usage: {way} {word} ".rstrip())


def test_it_passes_on_what_stands_behind_the_command(tmp_path: Path) -> None:
    """And exit codes; without torch."""
    code = (
        "import sys\nfrom study.__main__ import main\n"
        "code = main(sys.argv[1:])\nassert not {'torch', 'pandas'} & set(sys.modules)\nsys.exit(code)"
    )

    def run(line: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-c", code, *shlex.split(line)]
        return subprocess.run(words, cwd=tmp_path, capture_output=True, text=True)

    plan = run("sweep lr_grid --cfg seeds=2 name=mine")
    assert plan.returncode == 0 and "name: mine\n" in plan.stdout and "seeds: 2\n" in plan.stdout
    assert run("status nope").returncode == 2 and run("rerun nope 12").returncode == 2


def test_compare_prints_the_settings_of_each_method(capsys: pytest.CaptureFixture[str]) -> None:
    from study.compare import main

    assert main(["peft:HRA,r=4", "--cfg", "seeds=2"]) == 0
    baseline, hra = yaml.safe_load_all(capsys.readouterr().out)
    assert baseline["methods"] == ["ether"] and hra["methods"] == ["hra"]
    assert hra["method"]["hra"]["r"] == 4
    assert baseline["seeds"] == hra["seeds"] == 2 and baseline["task"] == hra["task"]
