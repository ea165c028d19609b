"""How the figures of one call look: their width in print, whom they highlight, in which order.

Figures ask for the look that is in force (`current`), so that none of them passes it on:

    with looking(Look(width="column", highlight=("ether_plus",))):
        draw_robustness(study, folder)
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import TypeVar

from analysis.data.names import label_name
from analysis.data.table import Study
from study.errors import UsageError, nearest

WIDTHS = {"column": 3.25, "page": 6.75}
"""Inches of a column, and of both with the gap, on ICML's pages; other venues' differ by little."""

POINTS = 8.0
"""The size of all text in print, which is not scaled any more."""


AnyStudy = TypeVar("AnyStudy", bound=Study)


@dataclass(frozen=True)
class Look:
    """The look of figures; as it is here, that on a screen.

    width: `column` or `page`, in print; empty on a screen.
    highlight: labels in colour, all others grey; empty: all in colour.
    order: labels that come first, in this order.
    """

    width: str = ""
    highlight: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    @property
    def inches(self) -> float | None:
        """The width in print; None on a screen."""
        return WIDTHS[self.width] if self.width else None

    def of(self, study: Study) -> Look:
        """The same with the study's labels for what the user may have called in another way.

        `ETHER+`, `ether_plus` and, of a method with several settings, `ether blocks=4` or, for all of its
        labels, `ether`.

        Raises:
            UsageError: for a name that is none of the study's.
        """
        return replace(self, highlight=_labels(self.highlight, study), order=_labels(self.order, study))


ON_SCREEN = Look()

_CURRENT: ContextVar[Look] = ContextVar("look", default=ON_SCREEN)


def current() -> Look:
    return _CURRENT.get()


@contextlib.contextmanager
def looking(look: Look) -> Iterator[None]:
    """Within it figures have this look."""
    token = _CURRENT.set(look)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def ordered(study: AnyStudy, look: Look) -> AnyStudy:
    """The study with its labels in the look's order; those that it does not name keep theirs, behind."""
    if not look.order:
        return study
    order = [*look.order, *(label for label in study.labels if label not in look.order)]
    ranks = study.runs["label"].map({label: rank for rank, label in enumerate(order)}).astype("int64")
    return replace(study, runs=study.runs.assign(rank=ranks))


def _labels(names: Sequence[str], study: Study) -> tuple[str, ...]:
    """The labels that the names mean, each once."""
    found: dict[str, None] = {}
    for name in names:
        meant = [label for label in study.labels if name in _called(label, study.method_of[label])]
        if not meant:
            known = [label_name(label, study.method_of[label]) for label in study.labels]
            raise UsageError(f"{study.name} has no method {name!r}; {nearest(name, known)}")
        found |= dict.fromkeys(meant)
    return tuple(found)


def _called(label: str, method: str) -> set[str]:
    return {label, method, label_name(label, method), label_name(method, method)}
