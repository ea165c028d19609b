"""From settings to runs to packs. A plan is a function of the settings (and of what the machine was
measured to do best), never of what happens to be missing, so that an interrupted sweep ends with the
same table as an undisturbed one.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import itertools
import json
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from omegaconf import MISSING

from study.errors import UsageError
from study.settings import SweepSettings, TaskSettings

PER_RUN = ("weight_decay", "noise")
"""Task settings that may differ within a pack; any other difference splits packs."""


Profile = dict[str, Any]
"""`study.training.probe.Profile` as a dict."""


def digest(value: Any) -> str:
    """A short hash of the canonical JSON form of `value`."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


DEFAULTS = {
    f.name: f.default_factory() if callable(f.default_factory) else f.default
    for f in dataclasses.fields(TaskSettings)
    if f.default != MISSING
}


def canonical(task: dict[str, Any]) -> dict[str, Any]:
    """Task settings without those at their default, so that a new setting changes no old run's hash."""
    return {key: value for key, value in task.items() if key not in DEFAULTS or value != DEFAULTS[key]}


@dataclass(frozen=True)
class Run:
    """One training: everything that decides its result."""

    task: dict[str, Any] = field(hash=False)
    method: str
    options: dict[str, Any] = field(hash=False)
    lr: float
    seed: int

    @cached_property
    def run_id(self) -> str:
        """Hash of the canonical, resolved configuration."""
        return digest([canonical(self.task), self.method, self.options, self.lr, self.seed])

    @cached_property
    def variant(self) -> str:
        """Runs of one variant can share a pack: same task, method and options."""
        task = {key: value for key, value in canonical(self.task).items() if key not in PER_RUN}
        return digest([task, self.method, self.options])

    @property
    def title(self) -> str:
        """`ether (blocks=4)`"""
        options = ", ".join(f"{key}={value}" for key, value in self.options.items())
        return f"{self.method} ({options})" if options else self.method

    def task_settings(self) -> TaskSettings:
        return TaskSettings(**self.task)

    def columns(self) -> dict[str, Any]:
        """The columns of the `runs` table that the configuration decides."""
        return {
            "run_id": self.run_id,
            "task": self.task["name"],
            "scale": self.task["scale"],
            "method": self.method,
            "lr": self.lr,
            "seed": self.seed,
            **{f"method.{self.method}.{option}": value for option, value in self.options.items()},
            **{f"task.{key}": value for key, value in self.task.items() if key not in ("name", "scale")},
        }


@dataclass(frozen=True)
class Pack:
    """Runs that train together."""

    runs: tuple[Run, ...]

    @property
    def pack_id(self) -> str:
        return digest([run.run_id for run in self.runs])


def plan_runs(settings: SweepSettings) -> list[Run]:
    """Every run of the sweep: methods x points x other axes x seeds x learning rates, in that order."""
    runs = []
    for method in settings.methods:
        own = f"method.{method}."
        axes = {k: v for k, v in settings.axes.items() if not k.startswith("method.") or k.startswith(own)}
        for point in settings.points or [{}]:
            if point.get("method", method) != method:
                continue
            rates = settings.lr or [point["lr"]]
            for values in itertools.product(*axes.values()):
                task = dataclasses.asdict(settings.task)
                options = dict(settings.method.get(method, {}))
                for key, value in {**point, **dict(zip(axes, values, strict=True))}.items():
                    if key.startswith("task."):
                        task[key.removeprefix("task.")] = value
                    elif key.startswith("method."):
                        options[key.removeprefix(own)] = value
                for seed in range(settings.seeds):
                    runs += [Run(task, method, options, lr, seed) for lr in rates]
    return runs


def by_variant(runs: list[Run]) -> dict[str, list[Run]]:
    """The runs that can share packs, in the plan's order."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(run.variant, []).append(run)
    return groups


def variant_titles(groups: dict[str, list[Run]]) -> dict[str, str]:
    """Each variant's title; where task settings are axes, those too: `lora (r=8) task.subset=topic`."""
    tasks = {variant: group[0].task for variant, group in groups.items()}
    differing = [k for k in next(iter(tasks.values()), {}) if len({str(t[k]) for t in tasks.values()}) > 1]
    return {
        variant: " ".join([group[0].title, *(f"task.{k}={tasks[variant][k]}" for k in differing)])
        for variant, group in groups.items()
    }


def makespan(costs: list[float], workers: int) -> float:
    """Seconds until all jobs are done when each free worker takes the longest one left."""
    busy = [0.0] * workers
    for cost in sorted(costs, reverse=True):
        heapq.heappush(busy, heapq.heappop(busy) + cost)
    return max(busy)


BYTES_PER_NUMBER = 12
"""Of a trained number, in float32: itself and Adam's two averages. Its gradient is counted in the step."""

RESERVED_MB = 1024.0
"""Of a GPU's memory: its context and the workspaces of its libraries."""

FRAGMENTED = 0.05
"""Share of a GPU's memory that is lost between the blocks in use."""


def pack_mb(profile: Profile, size: int) -> float:
    """MB (2^20 bytes) that a pack of `size` runs needs on its device at most: weights, adapters, optimizer,
    and what a step or an evaluation makes on the way (mostly activations)."""
    run = profile["run_mb"] + profile["numbers"] * BYTES_PER_NUMBER / 2**20
    return profile["weights_mb"] + profile["fixed_mb"] + size * run


def fitting(sizes: list[int], profile: Profile, memory_gb: float | None) -> list[int]:
    """Those of the pack sizes that fit in the memory of a device; all if it is not stated.

    Raises:
        UsageError: if none does.
    """
    if memory_gb is None:
        return sizes
    usable = (memory_gb * 1024 - RESERVED_MB) * (1 - FRAGMENTED)
    fits = [size for size in sizes if pack_mb(profile, size) <= usable]
    if not fits:
        needs = pack_mb(profile, sizes[0]) / (1 - FRAGMENTED) + RESERVED_MB
        raise UsageError(
            f"launcher.gpu_memory_gb={memory_gb:g}: a pack of {sizes[0]} needs about {needs / 1024:.2f}; "
            "try task.gradient_checkpointing=true, a larger task.accumulate, a smaller task.eval_batch_size"
        )
    return fits


def describe_memory(profile: Profile, runs: int, memory_gb: float) -> str:
    """The largest pack of so many runs that fits in a device's memory, and what it is made of.

    Raises:
        UsageError: if not even one run fits.
    """
    size = max(fitting(list(range(1, runs + 1)), profile, memory_gb))
    own = profile["numbers"] * BYTES_PER_NUMBER / 2**20
    parts = {"weights": profile["weights_mb"], "adapter and optimizer": own * size}
    parts["activations"] = pack_mb(profile, size) - sum(parts.values())
    made = ", ".join(f"{name} {mb / 1024:.2f}" for name, mb in parts.items())
    packs = f"packs of at most {size}" if size > 1 else "one by one"
    return f"{packs}: {pack_mb(profile, size) / 1024:.2f} of {memory_gb:g} GB ({made})"


def run_seconds(run: Run, profile: Profile, size: int) -> float:
    """Estimated seconds of one run in a pack of `size`: training, evaluations, the test."""
    sizes = sorted(int(key) for key in profile["step_seconds"])
    measured = max((s for s in sizes if s <= size), default=sizes[0])
    step = profile["step_seconds"][str(measured)]
    return run.task["steps"] * step + (run.task["evaluations"] + 3) * profile["measure_seconds"]


def pack_seconds(pack: Pack, profiles: dict[str, Profile]) -> float:
    """Estimated seconds of a pack."""
    first = pack.runs[0]
    return len(pack.runs) * run_seconds(first, profiles[first.variant], len(pack.runs))


def best_pack_sizes(
    groups: dict[str, list[Run]], profiles: dict[str, Profile], workers: int, startup_s: float = 0.0
) -> dict[str, int]:
    """Each variant's fastest pack size, made smaller for all where that lets more workers work.

    One limit holds for all variants: the one with the least makespan on `workers` workers.

    Args:
        startup_s: what every pack costs before it trains.
    """

    def total(limit: int) -> float:
        costs = []
        for variant, group in groups.items():
            size = min(limit, profiles[variant]["pack_size"])
            packs = plan_packs(group, {variant: size})
            costs += [startup_s + pack_seconds(pack, profiles) for pack in packs]
        return makespan(costs, workers)

    limits = sorted({int(size) for p in profiles.values() for size in p["step_seconds"]}, reverse=True)
    best = min(limits, key=total)
    return {variant: min(best, profiles[variant]["pack_size"]) for variant in groups}


def plan_packs(runs: list[Run], pack_sizes: dict[str, int]) -> list[Pack]:
    """Cuts each variant's runs into packs of nearly equal size, at most `pack_sizes[variant]`."""
    packs = []
    for variant, group in by_variant(runs).items():
        count = -(-len(group) // pack_sizes[variant])
        bounds = [round(len(group) * i / count) for i in range(count + 1)]
        packs += [Pack(tuple(group[a:b])) for a, b in itertools.pairwise(bounds)]
    return packs


def describe_packs(runs: list[Run], packs: list[Pack], profiles: dict[str, Profile], workers: int) -> str:
    """The plan, a line per variant: runs, packs, parameters; and the estimated time of it all."""
    lines = []
    groups = by_variant(runs)
    titles = variant_titles(groups)
    width = max(map(len, titles.values()), default=0)
    for variant, group in groups.items():
        profile = profiles[variant]
        sizes = sorted({len(pack.runs) for pack in packs if pack.runs[0].variant == variant})
        count = sum(pack.runs[0].variant == variant for pack in packs)
        spread = "-".join(str(size) for size in dict.fromkeys((sizes[0], sizes[-1])))
        how = f"{count} pack{'s' * (count > 1)} of {spread}"
        if profile["unpackable"]:
            how = f"one by one, cannot pack ({profile['unpackable'][:60]})"
        parameters = f"{profile['parameters']:,} parameters"
        if "run_mb" in profile:
            parameters += f"; {pack_mb(profile, sizes[-1]) / 1024:.2f} GB a pack"
        lines.append(f"  {titles[variant]:{width}} {len(group):4} runs, {how}; {parameters}")
    seconds = makespan([pack_seconds(pack, profiles) for pack in packs], workers)
    total = f"{len(runs)} runs in {len(packs)} packs on {workers} worker{'s' * (workers > 1)}"
    return "\n".join([*lines, f"  {total}, about {seconds:.0f} s of training"])
