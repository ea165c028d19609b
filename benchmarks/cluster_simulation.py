"""Packs of runs on a GPU cluster with preemptions, simulated event by event; see `benchmarks.cluster`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from heapq import heappop, heappush
from pathlib import Path

import numpy as np
import pandas as pd

from study.errors import UsageError

DAY = 86400.0
SLOW_SHARE, SLOW_SPEED = 0.05, 0.5
NOWHERE = -1  # in place of a GPU: the pack is back in the queue


@dataclass(frozen=True)
class Cluster:
    gpus: int
    startup_s: float = 30.0
    checkpoint_s: float = 60.0
    requeue_s: float = 121.0
    preemptions: float = 2.0  # per busy GPU and day
    spread: float = 0.05  # sigma of the logarithm of a GPU's speed
    slow_share: float = SLOW_SHARE

    def speeds(self, source: random.Random) -> list[float]:
        """Each GPU's speed; that of a pack at its nominal length is 1."""
        return [
            math.exp(source.gauss(0, self.spread)) * (SLOW_SPEED if source.random() < self.slow_share else 1)
            for _ in range(self.gpus)
        ]

    def preempter(self, source: random.Random) -> Callable[[], float]:
        """Draws the seconds until a GPU that now begins a task would be preempted."""
        rate = self.preemptions / DAY
        return (lambda: source.expovariate(rate)) if rate else (lambda: math.inf)


@dataclass(frozen=True)
class Curve:
    """Measured seconds per run and step at some pack sizes."""

    sizes: tuple[int, ...]
    seconds: tuple[float, ...]

    @classmethod
    def read(cls, path: Path, method: str, batch_size: int) -> Curve:
        if not path.is_file():
            raise UsageError(f"there is no {path}; write it with: python -m benchmarks packing")
        table = pd.read_csv(path)
        curve = table[(table["method"] == method) & (table["batch_size"] == batch_size)]
        curve = curve.sort_values("pack_size")
        if 1 not in set(curve["pack_size"]):
            raise UsageError(f"{path} has no run of {method!r} alone at batch size {batch_size}")
        return cls(tuple(curve["pack_size"].tolist()), tuple(curve["seconds"].tolist()))

    def at(self, size: int) -> float:
        if not self.sizes[0] <= size <= self.sizes[-1]:
            raise UsageError(f"pack size {size} is outside the measured {self.sizes[0]} to {self.sizes[-1]}")
        return float(np.interp(math.log(size), np.log(self.sizes), self.seconds))

    @property
    def fastest(self) -> int:
        return self.sizes[self.seconds.index(min(self.seconds))]

    def work(self, runs: int, size: int, alone_s: float) -> list[float]:
        """Seconds of training of each pack: `runs` runs in packs of nearly equal size, at most `size`."""
        packs = -(-runs // size)
        steps = alone_s / self.at(1)
        seconds = {n: n * self.at(n) * steps for n in {runs // packs, -(-runs // packs)}}
        return [seconds[(runs + i) // packs] for i in range(packs)]


@dataclass(frozen=True)
class Outcome:
    makespan: float
    finished: list[int]  # packs, numbered longest first, in the order in which they finished
    preempted: int


def simulate(
    work: list[float], speeds: list[float], cluster: Cluster, until_preempted: Callable[[], float]
) -> Outcome:
    """Trains packs of `work` seconds on GPUs of these speeds; `until_preempted` is asked at each start."""
    left = sorted(work, reverse=True)
    waiting, free = list(range(len(left))), list(range(len(speeds)))  # sorted, so heaps already
    events: list[tuple[float, int, int]] = []  # when, pack, the GPU it leaves
    now, preempted = 0.0, 0
    finished: list[int] = []
    while True:
        while waiting and free:
            pack, gpu = heappop(waiting), heappop(free)
            needed_s = cluster.startup_s + left[pack] / speeds[gpu]
            ran_s = until_preempted()
            if ran_s < needed_s:  # Up to its last checkpoint the work is done.
                trained = max(0.0, ran_s - cluster.startup_s)
                left[pack] -= trained // cluster.checkpoint_s * cluster.checkpoint_s * speeds[gpu]
                preempted += 1
            else:
                left[pack] = 0.0
            heappush(events, (now + min(ran_s, needed_s), pack, gpu))
        if not events:
            return Outcome(now, finished, preempted)
        now, pack, gpu = heappop(events)
        if gpu == NOWHERE:
            heappush(waiting, pack)
            continue
        heappush(free, gpu)
        if left[pack] > 0:
            heappush(events, (now + cluster.requeue_s, pack, NOWHERE))
        else:
            finished.append(pack)


def simulate_seed(work: list[float], cluster: Cluster, seed: int) -> Outcome:
    """The same seed draws the same GPUs whatever the packs, so that pack sizes compare like with like."""
    speeds = cluster.speeds(random.Random(f"speeds {seed}"))
    return simulate(work, speeds, cluster, cluster.preempter(random.Random(f"preemptions {seed}")))


def choose_three(runs: int, gpus: int, fastest: int) -> int:
    """The largest pack that leaves three packs per GPU, but none larger than the fastest."""
    return max(1, min(fastest, runs // (3 * gpus)))


def choose_bound(curve: Curve, cluster: Cluster, runs: int, alone_s: float) -> int:
    """The pack with the least of all work / G + one pack: no greedy order of equal GPUs takes longer."""

    def bound(size: int) -> float:
        tasks = [cluster.startup_s + seconds for seconds in curve.work(runs, size, alone_s)]
        return sum(tasks) / cluster.gpus + max(tasks)

    return min(range(1, min(runs, curve.sizes[-1]) + 1), key=bound)
