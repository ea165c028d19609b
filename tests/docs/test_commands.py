"""What README, CONTRIBUTING and the documentation say works: their files are written, their commands run.

Each page, or part of a long one, has a copy of the project of its own, and its commands run in their order
there; sweeps are made small by extra overrides. A command that stands on several pages runs on the first.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.documents import Block, Page, change_files, command_lines, files, pages, parts, steps
from support.paths import REFERENCE, ROOT

pytestmark = pytest.mark.slow

SIZES = REFERENCE / "benchmark" / "sizes.csv"
ONE_OF_EACH = ["task.evaluations=1", "seeds=1", "launcher.workers=1"]
SMALL = ["task.steps=3", *ONE_OF_EACH]
TWO_RATES = "lr=1e-3,1e-2"
FEW_PICTURES = ["task.sampling_steps=2", "task.class_pictures=4"]
UNDRAWN = [*SMALL, "report=false"]
"""A report takes longer than so short a sweep: it is drawn where the page, or what comes after, needs it."""
UNTRAINED = [*ONE_OF_EACH, "report=false"]

OVERRIDES: list[tuple[str, list[str]]] = [
    (r"study\.atlas only", [*SMALL, "lr=1e-2", "method=ether,lora"]),
    (r"study\.atlas", ["only=vtab", *SMALL, "lr=1e-2", "method=ether,lora"]),
    (r"--version|--cfg|--help|--check|dry_run=true|prefetch=true", []),
    (r"study\.(status|export)|analysis\.|pytest", []),
    (r"launcher=(slurm|mycluster)", ["dry_run=true"]),  # done for real in tests/slurm
    (r"study\.compare (.*\.py|peft:HRA peft:BOFT)", [*SMALL, TWO_RATES]),
    (r"study\.compare", [*UNDRAWN, "lr=1e-2"]),
    (r"sweep head_alone", [*UNDRAWN, "task.subset=topic,similarity", "task.head_lr=1e-2"]),
    (r"name=(reviews|requests|photos)", [*UNDRAWN, "lr=1e-3", "method=ether"]),
    (r"task=instruct$", [*SMALL, "lr=1e-2", "method=ether,lora"]),
    (r"name=sharpness", [*UNDRAWN, "lr=1e-2", "method=ether,lora"]),
    (r"sweep encoder_alone$", [*UNDRAWN, "task.head_lr=1e-2", "task.sampling_steps=2"]),
    (r"task=glue$", [*UNDRAWN, "lr=1e-2", "method=ether", "task.subset=topic,similarity"]),
    (r"task=glue", [*UNDRAWN, "lr=1e-2", "method=ether,lora"]),
    (r"sweep blocks task=s2i", [*UNDRAWN, "lr=1e-2", "method=ether", "method.ether.blocks=1,4",
                                "task.sampling_steps=2"]),
    (r"task=s2i( .*longer_s2i)?$", [*UNDRAWN, "lr=1e-2", "method=ether", "task.sampling_steps=2"]),
    (r"sweep perturbation task=s2i", [*UNTRAINED, "method=ether", "task.noise=0.1", "task.sampling_steps=2"]),
    (r"sweep hyperspherical task=s2i", [*UNDRAWN, "method=ether", "lr=1e-2", "task.sampling_steps=2"]),
    (r"task=subject$", [*UNDRAWN, "lr=1e-2", "method=ether", *FEW_PICTURES]),
    (r"name=subjects$", [*UNDRAWN, "lr=1e-2", *FEW_PICTURES]),
    (r"sweep perturbation task=subject", [*UNTRAINED, "method=ether", "task.noise=0.1", *FEW_PICTURES]),
    (r"sweep hyperspherical task=subject", [*UNDRAWN, "method=ether", "lr=1e-2", *FEW_PICTURES]),
    (r"sweep mechanism", [*UNDRAWN, "lr=1e-2"]),
    (r"sweep .*(tumours|my_study)", SMALL),
    (r"pruner=", ["task.steps=9", "task.evaluations=9", "launcher.workers=1"]),
    (r"study\.sweep", UNDRAWN),
    (r"study\.evaluate", []),
    (r"study\.pretraining\.vit", ["--steps", "2"]),
    (r"study\.pretraining\.", ["--help"]),  # run in tests/pretraining
    (r"benchmarks$", ["--methods", "ether", "--runs", "2", "--processes", "1", "--rounds", "1", "--set",
                      "task.steps=2"]),
    (r"benchmarks cluster", ["--runs", "300", "--seeds", "2", "--sizes", str(SIZES)]),
    (r"benchmarks scale", ["--runs", "500"]),
    (r"benchmarks energy", ["--width", "256"]),
    (r"benchmarks gpu --small", ["--packs", "1", "2", "--batch-sizes", "1", "--methods", "ether"]),
]  # fmt: skip
"""What is added to a command, by the first pattern that it matches."""

ELSEWHERE = ("optuna-dashboard ", "pip install optuna-dashboard")
"""Done in test_examples.py; commands of `make` are what `.ci/run` calls."""

LEFT_BEHIND = {
    "README.md": ["results/compare/gain/report.html", "results/my_study/report.html"],
    "CONTRIBUTING.md": ["results/compare/scaling/report.html"],
    "CONTRIBUTING.md, A task": ["results/tumours/report.html", "results/few_blocks/figures/cost.png"],
    "CONTRIBUTING.md, A launcher": ["results/freshly/runs.parquet", "results/axes/runs.parquet"],
    "docs/methods.md": ["my_adapter/adapter_model.safetensors"],
    "docs/data.md": [f"results/{name}/runs.parquet" for name in ("reviews", "requests", "photos")],
    "docs/atlas.md": [f"results/atlas/{page}.html" for page in ("index", "methods/lora", "tasks/glue_topic")],
    "docs/spaces.md": ["results/pruned/report.html"],
    "docs/evaluation.md": ["results/asked/benchmarks.csv"],
}
"""Files that must be there in the end."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The project's files in a folder of their own, with what `make lr_grid` leaves."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name in ("study", "analysis", "benchmarks", "sweeps", "tests", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    shutil.copytree(REFERENCE / "lr_grid", folder / "results" / "lr_grid")
    return folder


def run(words: list[str], folder: Path, exit_code: int = 0) -> str:
    """What a command prints, run in the copy of the project."""
    assert words[0] == "python", words
    result = subprocess.run(
        [sys.executable, *words[1:]], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == exit_code, f"{' '.join(words)}\n{result.stdout}\n{result.stderr}"
    return result.stdout + result.stderr


def overrides(command: str) -> list[str]:
    for pattern, added in OVERRIDES:
        if re.search(pattern, command):
            return added
    raise AssertionError(f"say in OVERRIDES how {command!r} is to be run")


def follow(step: Block | str, folder: Path) -> None:
    if isinstance(step, str):
        step = re.sub(r"^ether-study ", "python -m study ", step)
        if step.startswith("python "):
            run([*step.split(), *overrides(step)], folder)
        else:
            ci = (ROOT / ".ci" / "run").read_text()
            assert step.startswith(ELSEWHERE) or step in ci, f"nothing runs {step!r}"
    elif step.language == "python":
        (folder / "example.py").write_text(step.text)  # with -m, it starts at once
        run(["python", "-m", "example"], folder)
    elif step.language == "diff":
        change_files(step.text, folder)
    else:  # a transcript of wrong usage
        command, *expected = step.text.splitlines()
        assert run(command.removeprefix("$ ").split(), folder, exit_code=2).splitlines() == expected


@pytest.mark.parametrize("part", [part for part in parts() if steps(part)], ids=str)
def test_what_a_page_says_can_be_done(part: Page, copy: Path) -> None:
    for path, content in files(part).items():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(content)
    for step in steps(part):
        follow(step, copy)
    for left in LEFT_BEHIND.get(str(part), []):
        assert (copy / left).exists(), left


def test_what_must_be_left_is_asked_of_parts_that_exist() -> None:
    assert LEFT_BEHIND.keys() <= {str(part) for part in parts()}


def test_every_command_of_the_table_explains_itself(copy: Path) -> None:
    modules = re.findall(r"^\| `python -m ([\w.]+)", (ROOT / "README.md").read_text(), re.M)
    assert len(modules) >= 8
    for module in modules:
        help = run(["python", "-m", module, "--help"], copy)
        assert "usage: " in help or f"python -m {module} " in help


def test_every_command_of_the_documents_is_known() -> None:
    commands = [line for page in pages() for block in page.blocks if block.language == "bash"
                for line in command_lines(block)]  # fmt: skip
    assert len(commands) > 40
    for command in commands:
        assert not command.startswith(("python ", "ether-study ")) or overrides(command) is not None
