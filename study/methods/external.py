"""Methods from elsewhere: files of the user's own, and installed packages.

A file holds one method: a `MultiplicativeConfig` and a `MultiplicativeLayer` (or a `PeftConfig` and a
`BaseTuner`). Workers find it through the environment variable STUDY_METHODS, `name=path` pairs joined
by os.pathsep. A package offers methods as entry points in the group `study.methods`: name = "module".
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import os
import sys
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from study.errors import UsageError, first_line

if TYPE_CHECKING:
    from peft import PeftConfig

VARIABLE, GROUP = "STUDY_METHODS", "study.methods"
SOURCE = "source"
"""An option that every file method has: a hash of the file, so that a changed file makes new runs."""


def offer(name: str, path: Path) -> None:
    """Makes a file known under a name, in this process and its workers."""
    os.environ[VARIABLE] = os.pathsep.join(
        [f"{n}={p}" for n, p in (files() | {name: path.resolve()}).items()]
    )


def files() -> dict[str, Path]:
    """The user's files by their methods' names."""
    pairs = (pair.split("=", 1) for pair in os.environ.get(VARIABLE, "").split(os.pathsep) if pair)
    return {name: Path(path) for name, path in pairs}


def sources() -> dict[str, Path]:
    """Where the source of every method from elsewhere is, by name. Nothing is imported."""
    return _of_packages(tuple(sys.path)) | files()


@cache
def _of_packages(search_path: tuple[str, ...]) -> dict[str, Path]:
    """Those of the packages installed there; looking through all of them takes a while."""
    found = {}
    for entry in entry_points(group=GROUP):
        spec = importlib.util.find_spec(entry.module)
        if spec is not None and spec.origin is not None:
            found[entry.name] = Path(spec.origin)
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def module(name: str) -> ModuleType:
    """The module that holds the method, imported once.

    Raises:
        UsageError: if it cannot be imported.
    """
    path = sources()[name]
    try:
        if name in files():
            return _module_of_file(f"study_method_{name}", path)
        entry = next(e for e in entry_points(group=GROUP) if e.name == name)
        return importlib.import_module(entry.module)
    except Exception as error:
        raise UsageError(f"{path}: cannot be imported: {type(error).__name__}: {first_line(error)}") from None


def _module_of_file(name: str, path: Path) -> ModuleType:
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look themselves up there while the file runs
    try:
        spec.loader.exec_module(module)
    except Exception:
        del sys.modules[name]
        raise
    return module


def config_class(name: str) -> type[PeftConfig]:
    """The config of the one method in the module, registered with `peft` if it is not yet.

    Raises:
        UsageError: if there is no method in it, more than one, a config without a tuner, or one that `peft`
            could not tell from others.
    """
    from peft import PeftConfig
    from peft.tuners.tuners_utils import BaseTuner

    from study.methods.multiplicative import MultiplicativeConfig, MultiplicativeLayer, register
    from study.methods.tuner.registry import register_tuner

    defined, path = _defined_in(module(name)), sources()[name]
    configs, layers, tuners = (
        [c for c in defined if issubclass(c, kind)] for kind in (PeftConfig, MultiplicativeLayer, BaseTuner)
    )
    if not configs:
        raise UsageError(
            f"{path}: no method in it; define a MultiplicativeConfig and a MultiplicativeLayer, or a "
            "PeftConfig and a BaseTuner"
        )
    if len(configs) > 1:
        names = " and ".join(c.__name__ for c in configs)
        raise UsageError(f"{path}: {len(configs)} methods in it ({names}); give each a file of its own")
    config = configs[0]
    if issubclass(config, MultiplicativeConfig):
        if len(layers) != 1:
            raise UsageError(f"{path}: {config.__name__} needs one MultiplicativeLayer, found {len(layers)}")
        if not vars(config).get("PEFT_NAME"):
            config.PEFT_NAME = name
        try:
            register(config, layers[0])
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from None
    else:
        if len(tuners) != 1:
            raise UsageError(f"{path}: {config.__name__} needs one tuner (BaseTuner), found {len(tuners)}")
        register_tuner(name, config, tuners[0])
    return config


def _defined_in(module: ModuleType) -> list[Any]:
    """The classes that the module itself defines, not those it imports."""
    return [v for v in vars(module).values() if isinstance(v, type) and v.__module__ == module.__name__]
