"""Which names there are: sweeps, launchers, tasks, methods, their options, and keys that can be set.

A wrong one is refused with the nearest right ones. Nothing here imports torch.
"""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from study import methods, tasks
from study.errors import UsageError, nearest
from study.paths import SWEEPS

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


def check_sweep(sweep: str) -> None:
    """Raises UsageError if there is no such sweep."""
    if sweep not in sweep_names():
        raise UsageError(f"unknown sweep {sweep!r}; {nearest(sweep, sweep_names())}")


def check_launcher(launcher: str) -> None:
    """Raises UsageError if there is no such launcher."""
    if launcher not in launcher_names():
        raise UsageError(f"unknown launcher {launcher!r}; {nearest(launcher, launcher_names())}")


def check_task(task: str, scale: str) -> None:
    """Raises UsageError if there is no such task, or not at this scale."""
    if task not in tasks.names():
        raise UsageError(f"unknown task {task!r}; {nearest(task, tasks.names())}")
    scales = sorted(path.stem for path in (SWEEPS / "task" / task).glob("*.yaml"))
    if scale not in scales:
        raise UsageError(f"task {task} has no scale {scale!r}; known: {', '.join(scales)}")


def check_method(method: str) -> None:
    """Raises UsageError if there is no such method."""
    if method not in methods.names():
        raise UsageError(f"unknown method {method!r}; {nearest(method, methods.names())}")


def check_option(method: str, option: str) -> None:
    """Raises UsageError if there is no such method, or the method has no such option."""
    check_method(method)
    known = methods.options(method)
    if option not in known:
        raise UsageError(f"method {method} has no option {option!r}; {nearest(option, known)}")


def check_key(config: DictConfig, key: str) -> None:
    """Raises UsageError if a sweep's configuration has no such key."""
    if key.startswith(PASSED_ON):
        return
    if key.startswith("method."):
        _, method, *option = key.split(".")
        check_option(method, ".".join(option))
    elif key not in (known := _keys(config)):
        raise UsageError(f"unknown key {key!r}; {nearest(key, [*known, 'method', 'scale'])}")


def _keys(config: DictConfig, prefix: str = "") -> list[str]:
    """Every key of a configuration, such as `seeds` and `task.steps`."""
    keys = []
    for key in config:
        inner = None if OmegaConf.is_missing(config, key) else config._get_node(str(key))
        if isinstance(inner, DictConfig) and key not in ("method", "axes", "additional_parameters"):
            keys += _keys(inner, f"{prefix}{key!s}.")
        else:
            keys.append(f"{prefix}{key!s}")
    return keys
