"""What made a result: versions of the packages, and the state of the checkout."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from study.paths import PACKAGE
from study.planning.jobs import Provenance

RESULT_CODE = ("methods", "tasks", "training")
"""Folders of this package that decide results; the others plan, launch, store and tell."""


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
    with contextlib.suppress(PackageNotFoundError):  # an extra, which not every task needs
        versions.append(f"diffusers {version('diffusers')}")
    in_checkout = bool(
        _git("ls-files", "--error-unmatch", "__init__.py")
    )  # not just a folder inside another's
    return Provenance(
        versions=", ".join([*versions, f"python {platform.python_version()}"]),
        git_sha=(_git("rev-parse", "HEAD") if in_checkout else "") or "",
        git_dirty=in_checkout and bool(_git("status", "--porcelain", "--untracked-files=no")),
    )


def version_line() -> str:
    """What `--version` prints: of this project, of what results depend on, and the commit of a checkout."""
    here = provenance()
    commit = f"; commit {here.git_sha[:10]}" if here.git_sha else ""
    changes = " with uncommitted changes" if here.git_dirty else ""
    return f"ether-{here.versions}{commit}{changes}"


@cache
def is_same_code(before: str, now: str) -> bool:
    """Whether RESULT_CODE is the same in two commits; false where this checkout does not know one of them."""
    return before == now or _git("diff", "--name-only", before, now, "--", *RESULT_CODE) == ""


def _git(*arguments: str) -> str | None:
    """What git answers about this file's checkout; None where there is none, or git refuses."""
    try:
        return subprocess.run(
            ["git", "-C", str(PACKAGE), *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
