"""README and CONTRIBUTING are true: their files are written, their commands run, in a copy of the project.

Sweeps are made small by extra overrides; `make` commands are what `.ci/run` calls.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.paths import ROOT

README, CONTRIBUTING = (ROOT / "README.md").read_text(), (ROOT / "CONTRIBUTING.md").read_text()
SMALL_SWEEP = ["task.steps=3", "task.evaluations=1", "seeds=1"]
DRAWN = ("my_study", "task=instruct", "few_blocks", "tumours")
"""In the commands whose reports are drawn; the others leave out what takes longer than so short a sweep."""
SMALL_BENCHMARK = [
    "--methods",
    "ether",
    "--runs",
    "2",
    "--processes",
    "1",
    "--rounds",
    "1",
    "--set",
    "task.steps=2",
]


def commands(text: str) -> list[str]:
    blocks = re.findall(r"```bash\n(.*?)```", text, re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's files in a folder of their own, with what CONTRIBUTING adds."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("study", "analysis", "benchmarks", "sweeps", "tests", "pyproject.toml"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, folder / name)
    # What `make lr_grid`, which `.ci/run` calls, leaves for the commands after it.
    shutil.copytree(ROOT / "results" / "reference" / "lr_grid", folder / "results" / "lr_grid")
    for path, content in re.findall(r"<!-- file: (.*?) -->\n```\w+\n(.*?)```", CONTRIBUTING, re.S):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return folder


def run(command: str, folder: Path, *more: str) -> str:
    words = command.split()
    assert words[0] == "python", command
    result = subprocess.run(
        [sys.executable, *words[1:], *more], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def run_documented(text: str, folder: Path) -> Iterator[str]:
    """Runs every command of a document in its order; yields those that something else runs."""
    for command in commands(text):
        more = [*SMALL_SWEEP, "launcher.workers=1"]
        if not any(name in command for name in DRAWN):
            more.append("report=false")
        if "launcher=slurm" in command:  # done for real in tests/slurm
            run(command, folder, *SMALL_SWEEP, "dry_run=true")
        elif "dry_run=true" in command:
            run(command, folder)
        elif " study.compare " in command and "--check" not in command:
            run(command, folder, *SMALL_SWEEP, "lr=1e-3,1e-2")
        elif " study.sweep " in command and (" task=glue" in command or " task=instruct" in command):
            run(command, folder, *more, "lr=1e-3,1e-2", "method=ether,lora")
        elif command.endswith(" study.sweep head_alone"):
            run(command, folder, *more, "task.subset=topic,similarity", "task.head_lr=1e-2")
        elif " study.sweep " in command and "prefetch" not in command:
            run(command, folder, *more)
        elif command.endswith(" benchmarks"):
            run(command, folder, *SMALL_BENCHMARK)
        elif command.endswith(" benchmarks cluster"):
            run(command, folder, "--runs", "300", "--seeds", "2", "--sizes", str(SIZES))
        elif command.endswith(" benchmarks scale"):
            run(command, folder, "--runs", "500")
        elif command.endswith(" benchmarks energy"):
            run(command, folder, "--width", "256")
        elif command.endswith(" benchmarks gpu --small"):
            run(command, folder, "--packs", "1", "2", "--batch-sizes", "1", "--methods", "ether")
        elif command.startswith("python "):
            run(command, folder)
        else:
            yield command


SIZES = ROOT / "results" / "reference" / "benchmark" / "sizes.csv"


def test_links_and_pictures_of_the_readme_exist() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README + CONTRIBUTING):
        assert target.startswith("http") or (ROOT / target).exists(), target


@pytest.mark.slow
def test_every_command_of_the_readme(copy: Path) -> None:
    left = list(run_documented(README, copy))
    ci = (ROOT / ".ci" / "run").read_text()
    for command in left:
        known = command.startswith(("optuna-dashboard ", "pip install optuna-dashboard"))
        assert known or command in ci, f"nothing runs {command!r}"


@pytest.mark.slow
def test_every_example_of_contributing(copy: Path) -> None:
    assert list(run_documented(CONTRIBUTING, copy)) == []
    assert (copy / "results/few_blocks/figures/cost.png").exists()
    for study in ("compare/scaling", "tumours"):
        assert (copy / "results" / study / "report.html").exists()


def test_the_python_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", README, re.S)
    exec(block, {})
    assert (tmp_path / "my_adapter" / "adapter_model.safetensors").exists()


@pytest.mark.slow
def test_optuna_dashboard_opens_the_study(copy: Path) -> None:
    program = Path(sys.executable).parent / "optuna-dashboard"
    if not program.exists():
        pytest.skip("optuna-dashboard is not installed")
    run("python -m study.sweep lr_grid method=ether lr=1e-3 name=dashboard", copy, *SMALL_SWEEP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [program, "--host", "127.0.0.1", "--port", str(port), "results/dashboard/optuna.log"],
        cwd=copy,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"no_proxy": "127.0.0.1"},
    )
    try:
        for _ in range(100):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=5) as answer:
                    listed = answer.read().decode()
                break
            except OSError:
                time.sleep(0.2)
        assert '"study_name": "dashboard"' in listed or '"study_name":"dashboard"' in listed
    finally:
        server.terminate()
        server.wait()


WORDS = '''"""The next word of random sentences, by any causal language model."""

import torch
import torch.nn.functional as F
from transformers import AutoModelForCausalLM

from study.tasks.loading.pretrained import load_pretrained
from study.tasks import Task


class Words(Task):
    metric, chance = "accuracy", 0.02

    def __init__(self, settings):
        super().__init__(settings)
        self.words = torch.randint(3, 50, (40, 6), generator=torch.Generator().manual_seed(0))

    def model(self):
        return load_pretrained(AutoModelForCausalLM, self.settings.model, [])

    def size(self, split):
        return len(self.words)

    def examples(self, split, indices):
        return {"words": self.words[indices]}

    def forward(self, model, batch):
        return model(input_ids=batch["words"]).logits[:, -2]

    def losses(self, outputs, batch):
        return F.cross_entropy(outputs, batch["words"][:, -1], reduction="none")

    def predictions(self, outputs, batch):
        return outputs.argmax(-1).float() + 0 * outputs.sum(-1)

    def metrics(self, predictions, references):
        return {"accuracy": (predictions == references["words"][:, -1]).double().mean().item()}
'''


@pytest.mark.slow
def test_a_method_is_compared_on_a_decoder_of_ones_own(copy: Path) -> None:
    """A task file as CONTRIBUTING describes it; a GPT-2 from a local path, adapted in its Conv1D."""
    from transformers import AutoConfig, AutoModelForCausalLM

    small = {"vocab_size": 50, "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = AutoConfig.for_model("gpt2", **small)
    AutoModelForCausalLM.from_config(config).save_pretrained(copy / "tiny")
    (copy / "study" / "tasks" / "words.py").write_text(WORDS)
    settings = copy / "sweeps" / "task" / "words" / "mini.yaml"
    settings.parent.mkdir(exist_ok=True)
    settings.write_text(
        "name: words\nscale: mini\nmodel: gpt2\ndata: random\ntarget_modules: [c_attn]\nsteps: 4\n"
        "batch_size: 4\n"
    )
    command = "python -m study.compare peft:LORA task=words task.model=./tiny name=tiny"
    run(f"{command} task.target_modules=[c_attn] lr=1e-3,1e-2 seeds=2", copy)
    assert (copy / "results" / "compare" / "tiny" / "report.html").exists()
