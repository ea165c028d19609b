"""The plan of a sweep in words, before anything runs: what a dry run prints."""

from __future__ import annotations

from pathlib import Path

from study import launchers
from study.coordination import profiles
from study.planning.packs import best_pack_sizes, plan_packs
from study.planning.runs import Run, group_by_variant, variant_titles
from study.planning.text import format_memory, format_packs
from study.settings import SweepSettings


def format_plan(settings: SweepSettings, runs: list[Run]) -> str:
    """What the runs would take, from profiles at hand: this machine's, or the reference machine's.

    With `launcher.gpu_memory_gb`, where there are none, the memory they need, from the model's shape.

    Raises:
        UsageError: if a model or its data is not there, or does not fit in the memory.
    """
    groups = group_by_variant(runs)
    capacity = launchers.load(settings.launcher).capacity(len(runs))
    of_this_machine = profiles.load_cached(groups, settings, capacity.threads)
    of_reference_machine = {}
    if settings.pack_size is None and settings.launcher.gpu_memory_gb is None:
        of_reference_machine = profiles.of_reference_machine()
    at_hand = {v: p for v, p in (of_reference_machine | of_this_machine).items() if v in groups}
    head = f"{settings.sweep}: {settings.task.name} ({settings.task.scale}), {len(runs)} runs"
    lines = [f"{head}, results in {Path(settings.results) / settings.name}"]
    if at_hand.keys() != groups.keys():
        lines += _lines_without_profiles(settings, groups)
        lines.append("  packs, parameters and time are measured at launch: new on this machine")
        return "\n".join(lines)
    packs = plan_packs(runs, best_pack_sizes(groups, at_hand, capacity.workers, capacity.startup_s))
    lines.append(format_packs(runs, packs, at_hand, capacity.workers))
    if of_this_machine.keys() != groups.keys():
        lines.append("  times as measured on the reference machine (results/reference)")
    return "\n".join(lines)


def _lines_without_profiles(settings: SweepSettings, groups: dict[str, list[Run]]) -> list[str]:
    """A line per variant; with its memory, if the memory of a device is stated."""
    memory_gb = settings.launcher.gpu_memory_gb
    footprints = profiles.estimate(groups, settings) if memory_gb else {}
    titles = variant_titles(groups)
    lines = []
    for variant, group in groups.items():
        line = f"  {titles[variant]}: {len(group)} runs"
        if memory_gb:
            footprint = footprints[variant]
            memory = format_memory(footprint, len(group), memory_gb)
            line += f"; {footprint.parameters:,} parameters; {memory}"
        lines.append(line)
    return lines
