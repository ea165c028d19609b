"""`python -m study.compare`: what it takes, what it refuses, and one comparison from end to end."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
import torch
from peft import PeftModel, get_peft_model
from support.paths import ROOT
from support.sweeps_under_test import Command, table

from study import methods, tasks
from study.cli.contenders import Contender, offer, parse_contender
from study.compare import COMMAND
from study.config.compose import load
from study.errors import UsageError
from study.methods import external
from study.training.passes import evaluate

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
SCALING = re.search(r"<!-- file: scaling.py -->\n```python\n(.*?)```", CONTRIBUTING, re.S)
assert SCALING is not None
GRID = ["lr=1e-3,1e-2,1e-1", "seeds=2", "task.steps=8", "task.evaluations=2", "pack_size=3"]
TUNER = """
from dataclasses import dataclass
from peft.tuners.lora import LoraConfig, LoraModel

@dataclass
class {0}Config(LoraConfig):
    pass

class {0}Model(LoraModel):
    pass
"""


@pytest.fixture(autouse=True)
def no_method_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(external.VARIABLE, "")


def contender(text: str) -> Contender:
    """The contender, offered to workers."""
    parsed = parse_contender(text)
    offer([parsed])
    return parsed


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / f"{name}.py"
    path.write_text(text)
    return path


def test_what_stands_on_the_command_line() -> None:
    wanted, own, overrides = COMMAND.parse(
        ["hra=peft:HRA,r=4", "peft:BOFT", "my.py", "baseline=ether_plus,blocks=2", "lr=1e-3,1e-2",
         "task.steps=5", "task=vtab", "sweep=lr_grid", "seeds=3"]
    )  # fmt: skip
    assert wanted == ["hra=peft:HRA,r=4", "peft:BOFT", "my.py"]
    assert own == {"baseline": "ether_plus,blocks=2", "sweep": "lr_grid", "name": ""}
    assert overrides == ["lr=1e-3,1e-2", "task.steps=5", "task=vtab", "seeds=3"]


@pytest.mark.parametrize("text,expected", [
    ("peft:HRA", Contender("hra", "hra", {})),
    ("hra4=peft:HRA,r=4,apply_GS=true", Contender("hra4", "hra", {"r": 4, "apply_GS": True})),
    ("peft:OFT", Contender("oft", "peft:oft", {})),
    ("e8=ether,blocks=8", Contender("e8", "ether", {"blocks": 8})),
    ("ether,init_scale=1e-1", Contender("ether", "ether", {"init_scale": 0.1})),
])  # fmt: skip
def test_a_contender(text: str, expected: Contender) -> None:
    assert contender(text) == expected


@pytest.mark.parametrize("name,text,message", [
    ("empty", "x = 1\n", "empty.py: no method in it; define a MultiplicativeConfig and"),
    ("two", TUNER.format("A") + TUNER.format("B"), r"2 methods in it \(AConfig and BConfig\)"),
    ("typo", "import touch\n", "cannot be imported: ModuleNotFoundError: No module named 'touch'"),
    ("syntax", "def f(:\n", "cannot be imported: SyntaxError"),
    ("toolless", TUNER.split("class {0}Model")[0].format("A"), "AConfig needs one tuner .BaseTuner., found"),
    ("ether", "x = 1\n", "there is a method ether already; give the file another name"),
])  # fmt: skip
def test_files_that_hold_no_method(name: str, text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        contender(str(written(tmp_path, name, text)))


@pytest.mark.parametrize("text,message", [
    ("missing.py", "missing.py: no such file"),
    ("peft:HRRA", "the installed peft has no tuner 'HRRA'; nearest: peft:hra"),
    ("peft:HRA,rr=4", "method peft:HRA has no option 'rr'; nearest: r"),
    ("peft:HRA,r", "'r' is no option; write option=value"),
    ("ehter", "unknown method 'ehter'; nearest: ether"),
])  # fmt: skip
def test_names_that_are_none(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        contender(text)


def test_a_method_that_is_given_in_a_file(tmp_path: Path) -> None:
    """One multiplicative layer, and a tuner of any other kind; a changed file makes other runs."""
    mine = written(tmp_path, "scaling", SCALING.group(1))
    first = contender(str(mine))
    assert first.label == first.method == "scaling" and first.options.keys() == {external.SOURCE}
    assert methods.options("scaling") == sorted({*methods.options("naive"), external.SOURCE})
    model = torch.nn.Sequential(torch.nn.Linear(8, 8))
    adapted = get_peft_model(model, methods.config("scaling", first.options, ["0"]))
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == 8
    mine.write_text(SCALING.group(1) + "\n# changed\n")
    assert contender(str(mine)).options != first.options

    other = contender(f"{written(tmp_path, 'variant', TUNER.format('Variant'))},r=3")
    config = methods.config("variant", other.options, ["0"])
    assert config.peft_type == "VARIANT" and config.r == 3
    adapted = get_peft_model(torch.nn.Sequential(torch.nn.Linear(8, 8)), config)
    adapted.save_pretrained(tmp_path / "saved")
    PeftModel.from_pretrained(torch.nn.Sequential(torch.nn.Linear(8, 8)), tmp_path / "saved")


def test_a_package_offers_a_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the entry point group `study.methods`."""
    (tmp_path / "offered_scaling.py").write_text(SCALING.group(1).replace("scaling", "offered"))
    info = tmp_path / "offered-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offered\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[study.methods]\noffered = offered_scaling\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "offered" in methods.names() and "blocks" in methods.options("offered")
    assert contender("offered,blocks=2") == Contender("offered", "offered", {"blocks": 2})
    config = methods.config("offered", {"blocks": 2}, ["0"])
    assert config.peft_type == "OFFERED"
    assert load("lr_grid", ["method=offered"]).methods == ["offered"]


@pytest.mark.slow
def test_a_comparison_from_end_to_end(study_command: Command, tmp_path: Path) -> None:
    written(tmp_path, "scaling", SCALING.group(1))
    done = study_command("study.sweep", "lr_grid", *GRID, "method=ether", "report=false")
    assert done.returncode == 0, done.stderr
    command = ["scaling.py", "hra=peft:HRA,r=2", "hra4=peft:HRA,r=4", *GRID]
    first = study_command("study.compare", *command)
    assert first.returncode == 0, first.stderr
    assert "6 runs are there already, in results/lr_grid" in first.stdout
    study = tmp_path / "results" / "compare" / "scaling_hra_hra4"
    assert f"report: results/compare/{study.name}/report.html" in first.stdout
    assert len(table(study)) == 24
    rows = pd.read_csv(study / "comparison.csv")
    assert len(rows) == 3 * 4
    robustness = pd.read_csv(study / "robustness.csv")
    assert robustness.label.tolist() == ["ether", "scaling", "hra", "hra4"]
    again = study_command("study.compare", *command)
    assert again.returncode == 0 and "packs" not in again.stdout

    best = sorted(path.name for path in (study / "adapters").iterdir())
    runs = table(study).set_index("run_id")
    assert runs.loc[best].method.value_counts().to_dict() == {"hra": 2, "scaling": 1}
    settings = load("lr_grid", ["task.steps=8"]).task
    task = tasks.load(settings)
    for run_id in best:
        folder = study / "adapters" / run_id
        card = (folder / "README.md").read_text()
        assert "library_name: peft" in card and (folder / "adapter_model.safetensors").exists()
        if runs.method[run_id] == "hra":
            model = PeftModel.from_pretrained(task.model(), folder).base_model.model
            assert evaluate(task, model, "test")[0][0] == pytest.approx(runs.test[run_id], abs=0.01)


@pytest.mark.slow
def test_the_contract_of_a_file_of_ones_own(study_command: Command, tmp_path: Path) -> None:
    written(tmp_path, "scaling", SCALING.group(1))
    kept = study_command("study.compare", "--check", "scaling.py")
    assert kept.returncode == 0 and "checks passed" in kept.stdout, kept.stdout + kept.stderr
    cut = SCALING.group(1).replace(
        'p["scaling_factors"].flatten()', 'p["scaling_factors"].detach().flatten()'
    )
    written(tmp_path, "broken", cut.replace("scaling", "broken"))
    broken = study_command("study.compare", "--check", "broken.py")
    assert broken.returncode == 1 and "BROKEN" in broken.stdout


def test_bad_input_is_one_line(study_command: Command) -> None:
    for arguments, words in (
        (["peft:HRRA"], "no tuner 'HRRA'"),
        (["peft:HRA", "baseline=nothing"], "unknown method 'nothing'"),
        (["peft:HRA", "sweep=lr_gird"], "unknown sweep 'lr_gird'"),
        (["peft:HRA", "peft:HRA"], "two methods are called hra"),
        (["peft:HRA", "method.hra.r=4"], "give options with their method"),
        (["seeds=3"], "no method to compare"),
        (["same=ether"], "two of the methods are the same"),
        (["--check"], "--check takes one METHOD"),
    ):
        refused = study_command("study.compare", *arguments)
        lines = refused.stderr.strip().splitlines()
        assert refused.returncode == 2 and len(lines) == 1 and words in lines[0], refused.stderr
