"""A probe knows whether it had a core to itself."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from study.training import core_clock
from study.training.core_clock import CoreClock


@pytest.mark.parametrize("computing,pushed_off,disturbed", [
    (10.0, 0, False), (8.7, 900, False), (7.1, 900, True), (0.7, 200, True),
    (1.0, 3, False),  # it waited for a file
])  # fmt: skip
def test_what_counts_is_being_pushed_off(
    computing: float, pushed_off: int, disturbed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(core_clock, "_now", lambda: (100.0, 5.0, 7))
    clock = CoreClock()
    monkeypatch.setattr(core_clock, "_now", lambda: (110.0, 5.0 + computing, 7 + pushed_off))
    assert bool(clock.disturbed()) == disturbed


def test_a_thread_that_waits_is_not_disturbed() -> None:
    clock = CoreClock()
    time.sleep(1.0)  # in which it may be pushed off now and then, when it begins to wait and when it wakes
    assert not clock.disturbed()


BUSY = "while True: pass"
WATCHED = """
import time
from study.training.core_clock import CoreClock
clock, end = CoreClock(), time.perf_counter() + 1.0
while time.perf_counter() < end: pass
print(bool(clock.disturbed()))
"""


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs one core for all")
def test_beside_a_busy_process_on_the_same_core_it_is() -> None:
    core = min(os.sched_getaffinity(0))
    pinned = f"import os; os.sched_setaffinity(0, {{{core}}})\n"
    others = [subprocess.Popen([sys.executable, "-c", pinned + BUSY]) for _ in range(2)]
    try:
        watched = subprocess.run([sys.executable, "-c", pinned + WATCHED], capture_output=True, text=True)
        assert watched.stdout == "True\n", watched.stderr
    finally:
        for other in others:
            other.kill()
            other.wait()
