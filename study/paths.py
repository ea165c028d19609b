"""Where the project's own files are: beside the package in a checkout, inside it where it is installed."""

from __future__ import annotations

import os
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
"""The package `study`; in what it was copied from, the project's root is the folder above."""

_SHIPPED = PACKAGE / "shipped"  # what a wheel puts here, see setup.py

SWEEPS = PACKAGE.parent / "sweeps" if not _SHIPPED.exists() else _SHIPPED / "sweeps"
"""The project's own sweeps, tasks' and launchers' settings."""

REFERENCE = PACKAGE.parent / "results" / "reference" if not _SHIPPED.exists() else _SHIPPED / "reference"
"""Studies behind the documentation, with the profiles of the machine that they ran on."""


def cache_folder() -> Path:
    """What is kept for this user on this machine, and can be found out again."""
    return users_cache() / "ether-study"


def users_cache() -> Path:
    """Where all programs keep such things."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser())
