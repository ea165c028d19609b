"""Names and options are read from source files: what a file inherits is an option of it too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from study import methods
from study.methods import external

SHARED = {"blocks", "magnitudes", "init_weights", "target_modules", "exclude_modules", "layers_to_transform",
          "layers_pattern", "modules_to_save"}  # fmt: skip
NORMALS = {"init_scale", "renormalise"}
CONFIG = """
@dataclass
class MineConfig({base}):
    strength: float = 1.0
    PEFT_NAME: ClassVar[str] = "mine"
"""


@pytest.mark.parametrize(
    ("imports", "base", "inherited"),
    [
        ("from study.methods.multiplicative import MultiplicativeConfig", "MultiplicativeConfig", SHARED),
        ("from study.methods.multiplicative import (\n    MultiplicativeConfig,\n)", "MultiplicativeConfig",
         SHARED),
        ("from study.methods.tuner.config import MultiplicativeConfig", "MultiplicativeConfig", SHARED),
        ("import study.methods.multiplicative as m", "m.MultiplicativeConfig", SHARED),
        ("from study.methods import multiplicative", "multiplicative.MultiplicativeConfig", SHARED),
        ("from study.methods.ether import NormalsConfig", "NormalsConfig", SHARED | NORMALS),
        ("from study.methods.ether_plus import EtherPlusConfig", "EtherPlusConfig",
         SHARED | NORMALS | {"sides"}),
        ("from peft import PeftConfig", "PeftConfig", set()),
    ],
)  # fmt: skip
def test_a_files_options(
    imports: str, base: str, inherited: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f'"""Not of study.methods.ether import."""\n{imports}\n{CONFIG.format(base=base)}')
    monkeypatch.setenv(external.VARIABLE, f"mine={file}")
    assert "mine" in methods.names()
    assert set(methods.options("mine")) == {"strength", external.SOURCE} | inherited


def test_a_files_options_with_those_of_a_tuner_of_peft(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(f"from peft.tuners.lora import LoraConfig\n{CONFIG.format(base='LoraConfig')}")
    monkeypatch.setenv(external.VARIABLE, f"mine={file}")
    assert set(methods.options("mine")) == {"strength", external.SOURCE, *methods.options("lora")}


def test_own_options() -> None:
    assert set(methods.options("ether")) == SHARED | NORMALS
    assert set(methods.options("ether_plus")) == SHARED | NORMALS | {"sides"}
    assert set(methods.options("oft")) == set(methods.options("naive")) == SHARED
    assert set(methods.options("full")) == {"target_modules", "modules_to_save"}


def test_names_options_and_refusals_load_neither_torch_nor_peft() -> None:
    code = """
import sys
from study import methods
assert methods.own_names() == {"ether", "ether_plus", "full", "oft", "naive"} and "hra" in methods.names()
assert "sides" in methods.options("ether_plus") and "r" in methods.options("lora")
assert methods.refusal("xlora", {}) and not methods.refusal("lora", {})
assert not {"torch", "peft", "transformers"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
