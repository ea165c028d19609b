"""Which values an option can take, from its annotation, for every method; before torch is loaded."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from study import methods
from study.methods import external
from study.methods.catalogue.names import own_names
from study.methods.catalogue.options import declared


@pytest.mark.parametrize("method,option,value,complaint", [
    ("lora", "r", 4, ""),
    ("lora", "r", 4.5, "r=4.5 must be a whole number"),
    ("lora", "r", 4.0, "r=4.0 must be a whole number"),
    ("lora", "r", -1, "r=-1 must be positive"),
    ("lora", "r", 0, "r=0 must be positive"),
    ("lora", "r", True, "r=True must be a whole number"),
    ("lora", "r", "abc", "r=abc must be a whole number"),
    ("lora", "r", "4", "r='4' is text, not a whole number; write it without quotes"),
    ("lora", "r", [4], "r=[4] must be a whole number"),
    ("peft:oft", "r", 0, ""),  # its default: the size of a block decides
    ("lora", "lora_alpha", 0.5, ""),
    ("lora", "lora_alpha", "x", "lora_alpha=x must be a number"),
    ("lora", "lora_dropout", 0, ""),
    ("lora", "lora_dropout", 1.0, "lora_dropout=1.0 must be 0 or more, and less than 1"),
    ("lora", "lora_dropout", float("nan"), "lora_dropout=nan must be a finite number"),
    ("lora", "use_dora", True, ""),
    ("lora", "use_dora", 1, "use_dora=1 must be true or false"),
    ("lora", "bias", "some", "bias=some is none of its values; nearest: none"),
    ("lora", "init_lora_weights", "pissa_niter_4", ""),
    ("lora", "init_lora_weights", False, ""),
    ("lora", "init_lora_weights", "pis",  "init_lora_weights=pis is none of its values; nearest: pissa"),
    ("lora", "rank_pattern", {"q": 4}, ""),
    ("lora", "rank_pattern", 4, "rank_pattern=4 must be a mapping, such as {a:1}"),
    ("lora", "target_modules", "q", ""),
    ("lora", "target_modules", ["q"], ""),
    ("lora", "target_modules", 3, "target_modules=3 must be a list, such as [a,b] or text"),
    ("lora", "layers_to_transform", 0, ""),
    ("lora", "modules_to_save", None, ""),
    ("lokr", "decompose_factor", -1, ""),
    ("vera", "projection_prng_key", 0, ""),
    ("unilora", "proj_seed", 0, ""),
    ("unilora", "proj_seed", -1, "proj_seed=-1 must be zero or more"),
    ("ether", "blocks", 0, "blocks=0 must be positive"),
    ("ether", "blocks", 7, ""),  # whether it divides, the model knows
    ("ether", "blocks", 2.0, "blocks=2.0 must be a whole number"),
    ("ether", "init_scale", 1, ""),
    ("ether", "renormalise", "yes", "renormalise=yes must be true or false"),
    ("ether_plus", "sides", 3, "sides=3 is none of its values; known: 1, 2"),
    ("ether_plus", "sides", 1, ""),
])  # fmt: skip
def test_values(method: str, option: str, value: Any, complaint: str) -> None:
    assert methods.complaint(method, option, value) == complaint


def test_every_default_can_be_given() -> None:
    """For every option of every tuner of `peft` and of ours: what its config itself sets is never refused."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    seen = 0
    for name in methods.names():
        if name in own_names() or not name.startswith("peft:"):
            continue
        config_class = PEFT_TYPE_TO_CONFIG_MAPPING.get(name.removeprefix("peft:").upper())
        if config_class is None:
            continue
        fields = {field.name: field for field in dataclasses.fields(config_class)}
        assert set(methods.options(name)) <= fields.keys(), name  # nothing of a config within a config
        for option in methods.options(name):
            if isinstance(fields[option].default, str | int | float | bool):
                assert methods.complaint(name, option, fields[option].default) == "", (name, option)
                seen += 1
    assert seen > 200


def test_every_whole_number_refuses_fractions_and_text() -> None:
    """Of every method there is: an option annotated as a number takes no text, and an `int` no fraction."""
    seen = 0
    for name in methods.names():
        for option, known in declared(name).items():
            annotation = getattr(known.annotation, "id", "")
            if annotation not in ("int", "float", "bool"):
                continue
            seen += 1
            assert methods.complaint(name, option, "abc"), (name, option)
            if annotation == "int" and not ("alpha" in option or "lambda" in option):
                assert methods.complaint(name, option, 2.5) == f"{option}=2.5 must be a whole number"
    assert seen > 300


def test_options_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from study.methods.multiplicative import MultiplicativeConfig\n"
        "class MineConfig(MultiplicativeConfig):\n    rounds: int = 3\n    size: 'int | None' = None\n"
        "    how: SomethingElse = None\n"
    )
    monkeypatch.setenv(external.VARIABLE, f"mine={file}")
    assert methods.complaint("mine", "rounds", 2.5) == "rounds=2.5 must be a whole number"
    assert methods.complaint("mine", "rounds", 0) == "rounds=0 must be positive"
    assert methods.complaint("mine", "size", "big") == "size=big must be a whole number"
    assert methods.complaint("mine", "blocks", 1.5) == "blocks=1.5 must be a whole number"
    assert methods.complaint("mine", "how", object()) == ""  # nothing is known of its type
