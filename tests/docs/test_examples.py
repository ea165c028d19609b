"""Beyond the pages: Optuna's dashboard on a study, and a decoder of one's own in a task of one's own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest
from support.paths import ROOT
from support.warm_python import REAL

pytestmark = pytest.mark.slow

SMALL_SWEEP = ["task.steps=3", "task.evaluations=1", "seeds=1"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The harness in a folder of its own, to which a task can be added."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("study", "analysis", "sweeps"):
        shutil.copytree(ROOT / name, folder / name)
    return folder


def run(command: str, folder: Path, *more: str) -> str:
    words = command.split()
    assert words[0] == "python", command
    result = subprocess.run(
        [sys.executable, *words[1:], *more], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def test_optuna_dashboard_opens_the_study(copy: Path) -> None:
    program = Path(REAL).parent / "optuna-dashboard"
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
