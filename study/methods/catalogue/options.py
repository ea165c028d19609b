"""The options of a method, read from the source of its config, so that torch need not be loaded."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from study.methods import external
from study.methods.catalogue.names import FOLDER, own_names, peft_configs

SHARED = FOLDER / "tuner" / "config.py"
"""The config that every multiplicative method inherits."""

OFFERED_BY = ("study.methods.multiplicative", "study.methods.tuner", "study.methods.tuner.config")
"""Modules from which a method's file may have that config."""

NOT_OPTIONS = {"peft_type", "task_type", "auto_mapping", "base_model_name_or_path", "revision"}


@dataclass(frozen=True)
class Declared:
    """An option as its config's source declares it.

    Attributes:
        annotation: of its type.
        default: None where it has none, or it is not a plain value.
    """

    annotation: ast.expr | None
    default: Any = None


def options(name: str) -> list[str]:
    """Names of the options of a method's config, those it inherits from configs here or in `peft` too."""
    return sorted(declared(name))


def declared(name: str) -> dict[str, Declared]:
    """The options of a method's config by name, with what the source says of them."""
    elsewhere = external.sources()
    if name in elsewhere or name in own_names():
        trees = _with_inherited(elsewhere.get(name, FOLDER / f"{name}.py"))
    else:
        trees = [_parse(peft_configs()[name.removeprefix("peft:")])]
    found: dict[str, Declared] = {}
    for tree in reversed(trees):  # a method's own file goes before what it inherits
        found |= _fields(tree)
    if name in elsewhere:
        found[external.SOURCE] = Declared(None)
    return {option: each for option, each in found.items() if option not in NOT_OPTIONS}


def _parse(path: Path) -> ast.Module:
    return _parse_text(path.read_text())


@cache
def _parse_text(source: str) -> ast.Module:
    return ast.parse(source)


def _with_inherited(path: Path) -> list[ast.Module]:
    """A method's file, and the files of the configs that it imports, directly or through another method."""
    of_peft = peft_configs()
    configs = {f"study.methods.{name}": FOLDER / f"{name}.py" for name in own_names()}
    configs |= dict.fromkeys(OFFERED_BY, SHARED)
    for name, file in of_peft.items():
        configs |= dict.fromkeys((f"peft.tuners.{name}", f"peft.tuners.{name}.config"), file)
    trees: dict[Path, ast.Module] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in trees:
            continue
        trees[file] = _parse(file)
        if file not in of_peft.values():  # `peft`'s own configs repeat what they inherit
            waiting += [configs[module] for module in _imported(trees[file]) & configs.keys()]
    return list(trees.values())


def _imported(tree: ast.Module) -> set[str]:
    """Names of the modules that a file imports, or imports from."""
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            modules |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return modules


@cache
def _fields(tree: ast.Module) -> dict[str, Declared]:
    """Annotated names in the classes called `...Config` that inherit one; no class variables as PEFT_NAME.

    A config without a base is a part of one, such as LoRA's `LoftQConfig`.
    """
    return {
        statement.target.id: Declared(statement.annotation, _default(statement.value))
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config") and node.bases
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
        and isinstance(statement.target, ast.Name)
        and not statement.target.id.isupper()
    }


def _default(value: ast.expr | None) -> Any:
    if isinstance(value, ast.Call):
        value = next((keyword.value for keyword in value.keywords if keyword.arg == "default"), None)
    try:
        return None if value is None else ast.literal_eval(value)
    except ValueError:
        return None
