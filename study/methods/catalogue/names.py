"""The names that can stand behind `method=`, read from folders, so that torch need not be loaded."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path

from study.methods import external
from study.paths import PACKAGE

FOLDER = PACKAGE / "methods"
NO_METHODS = {"__init__", "external", "multiplicative"}
"""Files of the folder that hold no method."""


def own_names() -> set[str]:
    """Methods of this project, one file each."""
    return {path.stem for path in FOLDER.glob("*.py")} - NO_METHODS


@cache
def peft_configs() -> dict[str, Path]:
    """The source of the config of each tuner of the installed `peft`, by the tuner's name."""
    spec = importlib.util.find_spec("peft")
    assert spec is not None and spec.origin is not None
    tuners = Path(spec.origin).parent / "tuners"
    return {path.parent.name: path for path in tuners.glob("*/config.py")}


def names() -> list[str]:
    """Every name that can stand behind `method=`."""
    explicit = (f"peft:{name}" for name in peft_configs())
    return sorted({*own_names(), *peft_configs(), *external.sources(), *explicit})
