"""Wrong usage, said in one line before any work starts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UsageError(Exception):
    """What is wrong, where, and what would be right, in one line. Commands exit with code 2."""


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def nearest(word: str, known: Iterable[str]) -> str:
    """`nearest: a, b`, or all that is known when nothing is near."""
    known = sorted(known)
    near = difflib.get_close_matches(word, known, n=3, cutoff=0.5)
    return f"nearest: {', '.join(near)}" if near else f"known: {', '.join(known)}"
