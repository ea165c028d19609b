"""The options of a method, read from the source of its config, so that torch need not be loaded."""

from __future__ import annotations

import ast
from pathlib import Path

from study.methods import external
from study.methods.catalogue.names import FOLDER, own_names, peft_configs

SHARED = FOLDER / "tuner" / "config.py"
"""The config that every multiplicative method inherits."""

OFFERED_BY = ("study.methods.multiplicative", "study.methods.tuner", "study.methods.tuner.config")
"""Modules from which a method's file may have that config."""

NOT_OPTIONS = {"peft_type", "task_type", "auto_mapping", "base_model_name_or_path", "revision"}


def options(name: str) -> list[str]:
    """Names of the options of a method's config, those it inherits from configs here or in `peft` too."""
    elsewhere = external.sources()
    if name in elsewhere or name in own_names():
        trees = _with_inherited(elsewhere.get(name, FOLDER / f"{name}.py"))
    else:
        trees = [_parse(peft_configs()[name.removeprefix("peft:")])]
    option_names = {option for tree in trees for option in _fields(tree)}
    if name in elsewhere:
        option_names.add(external.SOURCE)
    return sorted(option_names - NOT_OPTIONS)


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


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


def _fields(tree: ast.Module) -> set[str]:
    """Annotated names in the classes called `...Config`, without class variables such as PEFT_NAME."""
    targets = [
        statement.target
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and node.name.endswith("Config")
        for statement in node.body
        if isinstance(statement, ast.AnnAssign)
    ]
    return {target.id for target in targets if isinstance(target, ast.Name) and not target.id.isupper()}
