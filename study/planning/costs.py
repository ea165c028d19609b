"""What packs take: seconds on a machine's workers, memory on a device."""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Sequence

from study.errors import UsageError
from study.planning.profile import Footprint, Profile
from study.settings import TaskSettings

RESERVED_MB = 1024.0
"""Of a GPU's memory: its context and the workspaces of its libraries."""

FRAGMENTED = 0.05
"""Share of a GPU's memory that is lost between the blocks in use."""


def run_seconds(task: TaskSettings, profile: Profile, pack_size: int) -> float:
    """Estimated seconds of one run in a pack of `pack_size`: training, evaluations, the test."""
    training = task.steps * step_seconds(profile, pack_size)
    return training + (task.evaluations + 3) * profile.measure_seconds


def step_seconds(profile: Profile, pack_size: int) -> float:
    """Estimated seconds per run and training step, interpolated in the logarithm of the pack's size."""
    sizes = sorted(profile.step_seconds)
    place = bisect.bisect_left(sizes, pack_size)
    if place in (0, len(sizes)):
        return profile.step_seconds[sizes[min(place, len(sizes) - 1)]]
    below, above = sizes[place - 1 : place + 1]
    share = math.log(pack_size / below) / math.log(above / below)
    return (1 - share) * profile.step_seconds[below] + share * profile.step_seconds[above]


def pack_seconds(task: TaskSettings, profile: Profile, pack_size: int) -> float:
    """Estimated seconds of a pack of `pack_size` runs."""
    return pack_size * run_seconds(task, profile, pack_size)


def makespan(costs: Sequence[float], workers: int) -> float:
    """Seconds until all jobs are done when each free worker takes the longest one left."""
    busy = [0.0] * workers
    for cost in sorted(costs, reverse=True):
        heapq.heappush(busy, heapq.heappop(busy) + cost)
    return max(busy)


def sizes_that_fit(sizes: Sequence[int], footprint: Footprint, memory_gb: float | None) -> list[int]:
    """Those of the pack sizes that fit in the memory of a device; all if it is not stated.

    Raises:
        UsageError: if none does.
    """
    if memory_gb is None:
        return list(sizes)
    usable = (memory_gb * 1024 - RESERVED_MB) * (1 - FRAGMENTED)
    fitting = [size for size in sizes if footprint.pack_mb(size) <= usable]
    if not fitting:
        needed_mb = footprint.pack_mb(sizes[0]) / (1 - FRAGMENTED) + RESERVED_MB
        raise UsageError(
            f"launcher.gpu_memory_gb={memory_gb:g}: a pack of {sizes[0]} needs about {needed_mb / 1024:.2f}; "
            "try task.gradient_checkpointing=true, a larger task.accumulate, a smaller task.eval_batch_size"
        )
    return fitting
