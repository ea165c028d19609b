"""How commands end: wrong usage in one line, a full disk, an interrupt; each with its exit code."""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Callable, Iterator
from typing import Any

from study.errors import UsageError
from study.storage.files import CannotWrite


class Terminated(KeyboardInterrupt):
    """SIGTERM: stop as on Ctrl-C, with another exit code."""


def one_line(action: Callable[[], int]) -> int:
    """The exit code of what a command does; wrong usage is one line and exit code 2."""
    try:
        return action()
    except UsageError as error:
        print(f"error: {'; '.join(str(error).splitlines())}", file=sys.stderr)  # one line, come what may
        return 2


def resumable(action: Callable[[], int], command: str) -> int:
    """The same for a command that goes on where it stopped: after a full disk (1) or a signal (130, 143).

    Args:
        command: what to type to go on after an interrupt.
    """
    try:
        with _sigterm_as_interrupt():
            return one_line(action)
    except CannotWrite as error:
        print(f"error: {error}; what is finished is kept: the same command goes on", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        print(f"stopped; what is finished is kept. Go on with: {command}")
        return 143 if isinstance(interrupt, Terminated) else 130


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    def interrupt(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
