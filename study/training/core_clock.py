"""Whether a thread that computes had a core to itself, or was pushed off it by others."""

from __future__ import annotations

import time
from resource import RUSAGE_THREAD, getrusage

UNDISTURBED = 0.8
"""The share of the time that a thread which only computes is computing, at least, on a machine that is free.

Measured while probing, on two cores: 1.00 alone with one thread and 0.87 to 0.90 with two; beside one busy
process 0.52 to 0.71.
"""
PUSHED_OFF = 5.0
"""Times a second that a thread is taken off its core while others want it, at least: measured 20 to 3,400.
One that waits for a file leaves its core of its own accord.
"""


class CoreClock:
    """Watches the thread that made it, from then on."""

    def __init__(self) -> None:
        self._wall, self._thread, self._pushed_off = _now()

    def disturbed(self) -> str:
        """What kept the thread from computing, in words; empty if that was little."""
        wall, thread, pushed_off = _now()
        wall -= self._wall
        free = (
            thread - self._thread >= UNDISTURBED * wall or pushed_off - self._pushed_off < PUSHED_OFF * wall
        )
        return "" if free else "other processes kept its cores busy meanwhile"


def _now() -> tuple[float, float, int]:
    """Seconds that have passed, those that this thread computed, and how often it was pushed off its core."""
    return time.perf_counter(), time.thread_time(), getrusage(RUSAGE_THREAD).ru_nivcsw
