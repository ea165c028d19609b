"""The contract of a method: what the study takes for granted of every one, as checks that say what to fix.

`run(name, options)` tries a method out on two small linear layers, 24 -> 48 -> 24. Each check of `CHECKS`
raises `Broken`, or returns a note (often empty) on what it does not demand.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

from study.testing import adapter_checks, layer_checks
from study.testing.checks import Broken, Result, run_checks
from study.testing.toy import Options, quiet

__all__ = ["CHECKS", "Broken", "Result", "run"]

Check = Callable[[str, Options], str]

CHECKS: dict[str, Check] = {
    check.__name__: check
    for check in (
        layer_checks.adapts,
        layer_checks.shapes,
        layer_checks.dense,
        layer_checks.gradients,
        layer_checks.rows,
        layer_checks.frozen,
        adapter_checks.merge,
        adapter_checks.saving,
        adapter_checks.start,
        adapter_checks.packing,
        layer_checks.geometry,
        layer_checks.bfloat16,
        adapter_checks.adapters,
    )
}
"""By short name, in the order in which they help: without the first none of the others means anything."""


def _quietly(check: Check) -> Check:
    """The check without `peft`'s warnings, and with random numbers that are not the caller's."""

    @functools.wraps(check)
    def quietly(name: str, options: Options) -> str:
        with quiet(0):
            return check(name, options)

    return quietly


def run(name: str, options: Options) -> list[Result]:
    """All checks of one method, as `methods.config` resolves it; any other error counts as broken too."""
    checks = {short: _quietly(check) for short, check in CHECKS.items()}
    return run_checks(checks, name, options, unless="not checked: the method adapts no layers")
