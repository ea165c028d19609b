"""From runs to packs. A *pack* is a set of runs that train together over one shared frozen model.

Packs are a function of the settings (and of what the machine was measured to do best), never of what happens
to be missing. Where the settings change under way, runs that have begun keep to those that began with them.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from study.planning.costs import makespan, pack_seconds
from study.planning.profile import Profile
from study.planning.runs import Run, digest, group_by_variant


def pack_id(run_ids: Sequence[str]) -> str:
    """A hash of the runs that train together."""
    return digest(list(run_ids))


@dataclass(frozen=True)
class Pack:
    """Runs of one variant that train together.

    Attributes:
        until: the step at which they are paused at a rung; None if they train to their end.
    """

    runs: tuple[Run, ...]
    until: int | None = None

    @property
    def pack_id(self) -> str:
        return pack_id([run.run_id for run in self.runs])

    def without(self, run_ids: Collection[str]) -> Pack | None:
        """The pack without these runs, which are done; None if that leaves nothing."""
        left = tuple(run for run in self.runs if run.run_id not in run_ids)
        return Pack(left, self.until) if left else None

    def seconds(self, profiles: Mapping[str, Profile]) -> float:
        """Estimated seconds of training and evaluation."""
        first = self.runs[0]
        share = 1.0 if self.until is None else self.until / first.task.steps  # an untrained run has no rungs
        return share * pack_seconds(first.task, profiles[first.variant], len(self.runs))


def plan_packs(
    runs: Sequence[Run],
    pack_sizes: Mapping[str, int],
    begun: Sequence[Collection[str]] = (),
    stops: Mapping[str, int] = MappingProxyType({}),
) -> list[Pack]:
    """Cuts each variant's runs into packs of nearly equal size, at most `pack_sizes[variant]`.

    Args:
        begun: run_ids that have a checkpoint together; others never join them.
        stops: by run_id the step at which a run is paused; only runs with the same one share a pack.
    """
    packs, left = [], list(runs)
    for run_ids in begun:
        packs += _cut([run for run in left if run.run_id in run_ids], pack_sizes, stops)
        left = [run for run in left if run.run_id not in run_ids]
    return packs + _cut(left, pack_sizes, stops)


def _cut(runs: Sequence[Run], pack_sizes: Mapping[str, int], stops: Mapping[str, int]) -> list[Pack]:
    packs = []
    for variant, of_variant in group_by_variant(runs).items():
        for until in dict.fromkeys(stops.get(run.run_id) for run in of_variant):
            group = [run for run in of_variant if stops.get(run.run_id) == until]
            count = -(-len(group) // pack_sizes[variant])
            bounds = [round(len(group) * i / count) for i in range(count + 1)]
            packs += [Pack(tuple(group[a:b]), until) for a, b in itertools.pairwise(bounds)]
    return packs


def pack_sizes(runs: int) -> list[int]:
    """Sizes worth trying: those that cut `runs` into equal packs, about 1.6 times apart."""
    sizes = [1]
    for packs in range(runs, 0, -1):
        size = -(-runs // packs)
        if size >= 1.6 * sizes[-1] or packs == 1:
            sizes.append(size)
    return sorted(set(sizes))


def best_pack_sizes(
    groups: Mapping[str, list[Run]],
    profiles: Mapping[str, Profile],
    workers: int,
    startup_s: float = 0.0,
) -> dict[str, int]:
    """Each variant's fastest pack size, made smaller for all where that lets more workers work.

    One limit holds for all variants: the one with the least makespan on `workers` workers.

    Args:
        startup_s: what every pack costs before it trains.
    """

    def total_seconds(limit: int) -> float:
        costs = []
        for variant, group in groups.items():
            size = min(limit, profiles[variant].pack_size)
            packs = plan_packs(group, {variant: size})
            costs += [startup_s + pack.seconds(profiles) for pack in packs]
        return makespan(costs, workers)

    limits: set[int] = set()
    for variant, group in groups.items():
        sizes = {*pack_sizes(len(group)), *profiles[variant].step_seconds}
        least, most = min(profiles[variant].step_seconds), profiles[variant].pack_size
        limits |= {size for size in sizes if least <= size <= most}
    best = min(sorted(limits, reverse=True), key=total_seconds)
    return {variant: min(best, profiles[variant].pack_size) for variant in groups}
