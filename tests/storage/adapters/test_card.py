"""Adapters travel: what their folders are called, what the card says, and loading one in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from peft import get_peft_model
from support.paths import ROOT
from torch import nn

from study import methods
from study.methods import external
from study.planning.runs import Run
from study.settings import TaskSettings
from study.storage import adapters
from study.storage.adapters import card
from study.storage.rows import Outcome

GAIN = (ROOT / "README.md").read_text().split("<!-- file: gain.py -->\n```python\n")[1].split("```")[0]
OUTCOME = Outcome("ok", metric="accuracy", test=0.91234, base_test=0.1, valid=0.9, parameters=1728)

LOAD = """
import sys
import torch
from torch import nn
sys.path.insert(0, sys.argv[1])
from load_adapter import load
torch.manual_seed(0)
model = load(nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4)))
print(model(torch.ones(1, 8)).sum().item())
"""


def base() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 4))


def kept(folder: Path, method: str, **options: object) -> tuple[Run, float]:
    """An adapter as a run leaves it, and what the model with it answers."""
    task = TaskSettings(name="vtab", model="shipped", data="digits", steps=10, batch_size=4)
    run = Run(task, method, options, 1.5e-3, 3)
    targets = {"target_modules": ["0"]}
    model = get_peft_model(base(), methods.config(method, {**options, **targets}))
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter += 0.5
    model.save_pretrained(str(adapters.new_folder(folder, run)))
    card.write(folder, run, OUTCOME)
    return run, model(torch.ones(1, 8)).sum().item()


def python(code: str, *arguments: str, path: Path | str = ROOT) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != external.VARIABLE} | {"PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment
    )


def test_a_folder_says_method_rate_seed_and_run(tmp_path: Path) -> None:
    run, _ = kept(tmp_path, "ether", blocks=2)
    other = Run(run.task, "peft:oft", {}, 2e-3, 3)
    assert adapters.new_folder(tmp_path, run).name == f"ether_lr0.0015_seed3_{run.run_id}"
    assert adapters.new_folder(tmp_path, other).name == f"peft-oft_lr0.002_seed3_{other.run_id}"
    (tmp_path / "adapters" / other.run_id).mkdir()  # as older versions named it
    (tmp_path / "adapters" / f".{other.run_id}.tmp").mkdir()
    assert adapters.saved(tmp_path).keys() == {run.run_id, other.run_id}
    assert adapters.folder_of(tmp_path, run.run_id) == adapters.new_folder(tmp_path, run)
    assert adapters.folder_of(tmp_path, other.run_id).name == other.run_id
    assert not adapters.folder_of(tmp_path, "nothing").exists()


def test_the_card_says_what_it_is(tmp_path: Path) -> None:
    run, _ = kept(tmp_path, "ether", blocks=2)
    text = (adapters.folder_of(tmp_path, run.run_id) / "README.md").read_text()
    _, header, body = text.split("---\n", 2)
    assert yaml.safe_load(header) == {
        "library_name": "peft", "tags": ["ether", "ether-study"], "metrics": ["accuracy"],
    }  # fmt: skip
    for fact in ("| method | ether |", "| options | blocks=2 |", "| peak learning rate | 0.0015 |",
                 "| seed | 3 |",
                 "vtab (mini), data digits", "0.9123", run.run_id, "from load_adapter import load",
                 f"python -m study.rerun {tmp_path.name} {run.run_id}"):  # fmt: skip
        assert fact in body, fact


def test_an_adapter_of_pefts_needs_nothing_beside_it(tmp_path: Path) -> None:
    run, _ = kept(tmp_path, "lora", r=2)
    folder = adapters.folder_of(tmp_path, run.run_id)
    assert not (folder / card.LOADER).exists()
    assert "from peft import PeftModel" in (folder / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ether", "gain"])
def test_a_process_that_has_not_imported_this_project_loads_it(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method in a file of the user's travels with the adapter: the file itself is gone."""
    if method == "gain":
        (tmp_path / "gain.py").write_text(GAIN)
        monkeypatch.setenv(external.VARIABLE, "")
        external.offer("gain", tmp_path / "gain.py")
    run, answer = kept(tmp_path, method, blocks=2)
    (tmp_path / "gain.py").unlink(missing_ok=True)
    folder = adapters.folder_of(tmp_path, run.run_id)
    loaded = python(LOAD, str(folder))
    assert loaded.returncode == 0, loaded.stderr
    assert float(loaded.stdout) == pytest.approx(answer, abs=1e-5)


@pytest.mark.slow
def test_what_it_says_where_the_project_is_not_there(tmp_path: Path) -> None:
    """And what `peft` alone says, which is why the module is there."""
    run, _ = kept(tmp_path, "ether", blocks=2)
    folder = str(adapters.folder_of(tmp_path, run.run_id))
    without = "import sys\nsys.modules['study'] = None\n"
    failed = python(without + LOAD, folder, path=tmp_path)
    assert failed.returncode == 1
    last = failed.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError: ") and "ETHER" in last and "`import study.methods.ether`" in last
    plain = "import sys\nfrom peft import PeftConfig\nPeftConfig.from_pretrained(sys.argv[1])"
    assert "KeyError: 'ETHER'" in python(plain, folder).stderr
