"""What the contracts have in common: checks that say what to fix, and their results."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from study.errors import first_line


class Broken(AssertionError):
    """What is wrong and what to fix, in one line."""


@dataclass(frozen=True)
class Result:
    """One check's answer: `what` it demands; in `message` what to fix or, where it is ok, a note."""

    check: str
    what: str
    ok: bool
    message: str
    seconds: float


def need(holds: bool, what: str, fix: str) -> None:
    """Demands that something holds.

    Raises:
        Broken: if it does not.
    """
    if not holds:
        raise Broken(f"{what}: {fix}")


def run_checks(checks: Mapping[str, Callable[..., str]], *subject: Any, unless: str) -> list[Result]:
    """Runs checks on what they take; any error that is not `Broken` counts as broken too.

    Args:
        checks: by short name, in the order in which they help; without the first none of the others means
            anything. Each raises `Broken`, or returns a note (often empty) on what it does not demand.
        unless: message of the others where the first is broken.
    """
    results: list[Result] = []
    for name, check in checks.items():
        began, ok, message = time.perf_counter(), False, unless
        if not results or results[0].ok:
            try:
                ok, message = True, check(*subject)
            except Broken as error:
                message = str(error)
            except Exception as error:
                message = f"{type(error).__name__}: {first_line(error)}"
        what = (check.__doc__ or "").splitlines()[0]
        results.append(Result(name, what, ok, message, time.perf_counter() - began))
    return results
