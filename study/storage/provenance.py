"""What made a result: versions of the packages, and the state of the checkout."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import version

from study.paths import PACKAGE
from study.planning.jobs import Provenance


@cache
def provenance() -> Provenance:
    """Of what runs now."""
    packages = {
        "study": "ether-study",
        "torch": "torch",
        "transformers": "transformers",
        "peft": "peft",
    }
    versions = [f"{name} {version(package)}" for name, package in packages.items()]
    return Provenance(
        versions=", ".join([*versions, f"python {platform.python_version()}"]),
        git_sha=_git("rev-parse", "HEAD"),
        git_dirty=bool(_git("status", "--porcelain", "--untracked-files=no")),
    )


def _git(*arguments: str) -> str:
    """What git answers about this file's checkout; empty where there is none."""
    try:
        return subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
