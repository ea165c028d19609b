"""`LABEL=METHOD,option=value`: what a comparison's methods may be, and when workers hear of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from support.method_files import SCALING, TUNER, written

from study import methods
from study.cli.contenders import Contender, offer, parse_contender
from study.config.compose import load
from study.errors import UsageError
from study.methods import external

UNNAMED = (
    SCALING.group(1)
    .replace("scaling_factors", "factors")
    .replace("register(ScalingConfig, ScalingLayer)", "")
)
"""Its parameters lack the beginning by which `peft` would find them."""


@pytest.fixture(autouse=True)
def no_method_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(external.VARIABLE, "")


def contender(text: str) -> Contender:
    """The contender, offered to workers."""
    parsed = parse_contender(text)
    offer([parsed])
    return parsed


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
    ("unnamed", UNNAMED, "unnamed.py: parameters of ScalingLayer must begin with 'scaling_'"),
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


def test_parsing_makes_nothing_known(tmp_path: Path) -> None:
    """Not even where the file holds no method: that is said when it is offered."""
    before = dict(os.environ)
    parsed = parse_contender(f"mine={written(tmp_path, 'scaling', SCALING.group(1))},blocks=2")
    assert parsed.label == "mine" and parsed.method == "scaling" and parsed.options["blocks"] == 2
    parse_contender(str(written(tmp_path, "empty", "x = 1")))
    assert dict(os.environ) == before and "scaling" not in methods.names()
    offer([parsed])
    assert external.files() == {"scaling": tmp_path / "scaling.py"}


def test_options_and_names_of_files_are_checked_when_they_are_offered(tmp_path: Path) -> None:
    mine = written(tmp_path, "scaling", SCALING.group(1))
    with pytest.raises(UsageError, match="scaling.py has no option 'blokcs'; nearest: blocks"):
        offer([parse_contender(f"{mine},blokcs=2")])
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other", "scaling", SCALING.group(1))
    with pytest.raises(UsageError, match="have one name; give one file another"):
        offer([parse_contender(str(mine)), parse_contender(f"b={other}")])
