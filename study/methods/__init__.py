"""The methods: a name -> a `peft` config.

A name is one of this folder's files (ether, ether_plus, oft, naive), a tuner of the installed `peft`
in lower case (lora, hra, boft, ...), or `peft:NAME`, which means `peft`'s own where both have one
(`peft:oft`). Names and options are read from the source files, not by importing them, so that they
can be checked before torch is loaded.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from peft import PeftConfig

FOLDER = Path(__file__).parent
SHARED = "multiplicative"
NOT_OPTIONS = {"peft_type", "task_type", "auto_mapping", "base_model_name_or_path", "revision"}


def own_names() -> set[str]:
    """Methods written here, one file each."""
    return {p.stem for p in FOLDER.glob("*.py")} - {"__init__", SHARED}


@cache
def _peft_folder() -> Path:
    spec = importlib.util.find_spec("peft")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent / "tuners"


def names() -> list[str]:
    """Every name that can stand behind `method=`."""
    of_peft = {p.parent.name for p in _peft_folder().glob("*/config.py")}
    return sorted(own_names() | of_peft | {f"peft:{name}" for name in of_peft})


def options(name: str) -> list[str]:
    """Names of the options of a method's config, read from its source without importing it."""
    if name in own_names():
        source = (FOLDER / f"{name}.py").read_text()
        shared = [other for other in own_names() | {SHARED} if f"study.methods.{other} import" in source]
        files = [FOLDER / f"{file}.py" for file in (name, SHARED, *shared)]
    else:
        files = [_peft_folder() / name.removeprefix("peft:") / "config.py"]
    found = set()
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and node.name.endswith("Config"):
                fields = [n.target for n in node.body if isinstance(n, ast.AnnAssign)]
                found |= {f.id for f in fields if isinstance(f, ast.Name) and f.id.islower()}
    return sorted(found - NOT_OPTIONS)


def config(
    name: str,
    options: dict[str, Any],
    target_modules: list[str] | str | None = None,
    modules_to_save: list[str] | None = None,
) -> PeftConfig:
    """The `peft` config of a method.

    Raises:
        KeyError: if there is no such method.
        TypeError, ValueError: from the config itself, if an option or its value is wrong.
    """
    if name in own_names():
        module = importlib.import_module(f"study.methods.{name}")
        found = [
            value
            for value in vars(module).values()
            if isinstance(value, type)
            and value.__module__ == module.__name__
            and vars(value).get("PEFT_NAME")
        ]
        config_class = found[0]
    else:
        from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

        config_class = PEFT_TYPE_TO_CONFIG_MAPPING[name.removeprefix("peft:").upper()]  # type: ignore
    return config_class(**{"target_modules": target_modules, "modules_to_save": modules_to_save} | options)
