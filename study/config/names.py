"""Which names there are: sweeps, launchers, tasks, methods, their options, and keys that can be set.

A wrong one is refused with the nearest right ones. Nothing here imports torch.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from study import methods, tasks
from study.config import aliases
from study.errors import UsageError, nearest
from study.paths import PACKAGE, SWEEPS
from study.settings import READ_BY_SOME_TASKS

PASSED_ON = "launcher.additional_parameters."
"""Keys that are passed on to Slurm as they are."""


def sweep_folders() -> list[Path]:
    """Where sweeps are looked for: `sweeps/` of the working folder, then the project's own."""
    local = Path.cwd() / "sweeps"
    return [local, SWEEPS] if local.is_dir() and local.resolve() != SWEEPS.resolve() else [SWEEPS]


def sweep_names() -> list[str]:
    """Every name that can stand behind `study.sweep`."""
    names = {path.stem for folder in sweep_folders() for path in folder.glob("*.yaml")}
    return sorted(names - {"base"})


def launcher_names() -> list[str]:
    """Every name that can stand behind `launcher=`: files of the user's and of the project's."""
    folders = {*sweep_folders(), SWEEPS}
    return sorted({path.stem for folder in folders for path in (folder / "launcher").glob("*.yaml")})


def sweep_name(text: str) -> str:
    """The name of a sweep that is given by its name or its file: `lr_grid`, `sweeps/lr_grid.yaml`.

    Raises:
        UsageError: if there is no such sweep.
    """
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or path.is_file():
        if path.is_file() and path.resolve().parent not in [folder.resolve() for folder in sweep_folders()]:
            raise UsageError(f"{text} is not where sweeps are found; put it into ./sweeps")
        text = path.stem
    elif (path / "plan.json").is_file():
        raise UsageError(
            f"{text} is a study's folder; name its sweep: python -m study.sweep SWEEP name={path.name}"
        )
    elif path.parent.name == "sweeps":
        text = path.name
    if text not in sweep_names():
        raise UsageError(f"unknown sweep {text!r}; {nearest(text, sweep_names())}")
    return text


def check_launcher(launcher: str) -> None:
    """Raises UsageError if there is no such launcher."""
    if launcher not in launcher_names():
        raise UsageError(f"unknown launcher {launcher!r}; {nearest(launcher, launcher_names())}")


def check_task(task: str, scale: str) -> None:
    """Raises UsageError if there is no such task, or not at this scale."""
    if task not in tasks.names():
        name, slash, its_scale = task.partition("/")
        both = f"write task={name} scale={its_scale}" if slash and name in tasks.names() else ""
        raise UsageError(f"unknown task {task!r}; {both or nearest(task, tasks.names())}")
    scales = sorted(path.stem for path in (SWEEPS / "task" / task).glob("*.yaml"))
    if scale not in scales:
        raise UsageError(f"task {task} has no scale {scale!r}; known: {', '.join(scales)}")


def check_method(method: str) -> None:
    """Raises UsageError if there is no such method, or it cannot be trained here."""
    if method not in methods.names():
        meant = aliases.variant(method)
        hint = f"write {meant.as_overrides()}" if meant else nearest(method, methods.names())
        raise UsageError(f"unknown method {method!r}; {hint}")
    if reason := methods.refusal(method, {}):
        raise UsageError(f"method {method} cannot be trained here: {reason}")


def check_option(method: str, option: str, called: str = "") -> None:
    """Raises UsageError if there is no such method, or the method has no such option.

    Args:
        called: what the user calls the method, where that is something else than its name.
    """
    check_method(method)
    known = methods.options(method)
    if not option:
        example = next((each for each in ("r", "blocks") if each in known), known[0])
        raise UsageError(f"method.{method}: give one of its options, such as method.{method}.{example}=8")
    if option not in known:
        meant = aliases.option(option, known)
        hint = f"nearest: {meant}" if meant else nearest(option, known)
        raise UsageError(f"method {called or method} has no option {option!r}; {hint}")


def check_value(method: str, option: str, value: Any, called: str = "") -> None:
    """Raises UsageError as `check_option` does, or if the method's option cannot take this value."""
    check_option(method, option, called)
    if reason := methods.refusal(method, {option: value}) or methods.complaint(method, option, value):
        raise UsageError(f"method {called or method}: {reason}")


def check_key(config: DictConfig, key: str) -> None:
    """Raises UsageError if a sweep's configuration has no such key."""
    if key.startswith(PASSED_ON):
        return
    if key.startswith("method."):
        _, method, *option = key.split(".")
        check_option(method, ".".join(option))
    elif key not in (known := _keys(config)):
        raise UsageError(f"unknown key {key!r}; {near_key(key, [*known, 'method', 'scale'])}")


def near_key(key: str, known: Collection[str]) -> str:
    """`nearest: task.batch_size` for `bs`: by what the field calls it, or by the letters."""
    meant = aliases.key(key.rpartition(".")[2], known)
    return f"nearest: {meant}" if meant else nearest(key, known)


def task_reads(task: str, setting: str) -> bool:
    """Whether a task reads a setting: of those that are about data of one kind, not every task does.

    Tasks read them as `settings.subset`, in their own file or in one that they import from `study.tasks`.
    """
    if setting not in READ_BY_SOME_TASKS:
        return True
    return any(re.search(rf"\bsettings\.{setting}\b", source) for source in _sources(f"study.tasks.{task}"))


@cache
def _sources(module: str) -> tuple[str, ...]:
    """The source of a task, and of what it imports for its data."""
    sources: dict[str, str] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        file = PACKAGE.parent / f"{name.replace('.', '/')}.py"
        if name in sources or not file.is_file():
            continue
        sources[name] = file.read_text(encoding="utf-8")
        imports = [node for node in ast.walk(ast.parse(sources[name])) if isinstance(node, ast.ImportFrom)]
        of_tasks = [node for node in imports if node.module and node.module.startswith("study.tasks")]
        waiting += [f"{node.module}.{alias.name}" for node in of_tasks for alias in node.names]
        waiting += [str(node.module) for node in of_tasks]
    return tuple(sources.values())


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Every key of a configuration, such as `seeds` and `task.steps`."""
    keys = []
    for key in config:
        inner = None if OmegaConf.is_missing(config, key) else config._get_node(str(key))
        if isinstance(inner, DictConfig) and key not in ("method", "axes", "space", "additional_parameters"):
            keys += _keys(inner, f"{prefix}{key!s}.")
        else:
            keys.append(f"{prefix}{key!s}")
    return keys
