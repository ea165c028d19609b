"""Wrong usage, said in one line before any work starts."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

MOST_NAMES = 10
"""A line names no more than so many."""


class UsageError(Exception):
    """What is wrong, where, and what would be right, in one line. Commands exit with code 2."""


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that it was raised over, the innermost last; libraries wrap one in another."""
    seen: list[BaseException] = []
    while error is not None and error not in seen:
        yield error
        seen.append(error)
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """What an error says, in one line; its type where it says nothing."""
    return next(iter(str(error).splitlines()), type(error).__name__)


def nearest(word: str, known: Iterable[str]) -> str:
    """`nearest: a, b`, or what is known, at most MOST_NAMES, when nothing is near.

    Capitals and hyphens make no difference, and `batch_size` is the end of `task.batch_size`.
    """
    known = sorted(known)
    plain = {_plain(name): name for name in known}
    same = [name for name in known if _plain(word) in (_plain(name), _plain(name).rpartition(".")[2])]
    near = same or [plain[each] for each in difflib.get_close_matches(_plain(word), plain, n=3, cutoff=0.5)]
    if near:
        return f"nearest: {', '.join(near[:MOST_NAMES])}"
    return f"known: {listed(known)}"


def listed(names: Sequence[str]) -> str:
    """The names in one line, the first MOST_NAMES."""
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
