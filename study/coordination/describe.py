"""The plan of a sweep in words, before anything runs: what a dry run prints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from study import launchers
from study.coordination import profiles
from study.coordination.borrow import borrowable
from study.coordination.folder import check_can_be_written, check_is_same_study
from study.coordination.here import worker_here
from study.coordination.inspection import Understanding, inspect
from study.coordination.plan_file import read_plan
from study.coordination.prefetch import stay_offline_if_prefetched
from study.coordination.same_origin import refuse_changes, standing
from study.planning.costs import makespan
from study.planning.inspection_text import format_inspections
from study.planning.packs import best_pack_sizes, plan_packs
from study.planning.profile import Footprint, Profile
from study.planning.rungs import rung_steps
from study.planning.runs import Run, group_by_variant, variant_titles
from study.planning.space import Values, of_method
from study.planning.text import format_done, format_memory, format_packs
from study.settings import SweepSettings
from study.storage import checkpoints, lock, records
from study.storage.trials import SpaceTrials

SHOWN = 3
"""Trials of a method that a dry run names."""


def format_plan(settings: SweepSettings, runs: list[Run], borrow_from: Path | None = None) -> str:
    """What was understood of data and models, and what the runs would take. Nothing is written.

    Times are from profiles at hand: this machine's, or the reference machine's. Where there are none and
    `launcher.gpu_memory_gb` is set, the memory that the runs need, from the model's shape.

    Args:
        borrow_from: see `study.coordination.coordinator.run_study`.

    Raises:
        UsageError: if folder, data, model, options or versions cannot be used, or the runs do not fit in the
            memory.
    """
    folder = Path(settings.results) / settings.name
    plan = read_plan(folder)
    check_can_be_written(folder)
    check_is_same_study(folder, plan, settings)
    stay_offline_if_prefetched(folder)
    groups = group_by_variant(runs)
    memory_gb = settings.launcher.gpu_memory_gb
    with worker_here(settings) as session:
        understood = inspect(runs, session, elsewhere=True)
        footprints = profiles.estimate(groups, session) if memory_gb else {}
    done = records.statuses(folder)
    missing = [run for run in runs if run.run_id not in done]
    origins = {run.run_id: understood.origin(run) for run in missing}
    notes = [f"not inspected: {reason}" for reason in dict.fromkeys(understood.reasons.values())]
    notes += refuse_changes(
        folder, standing(folder, plan), dict.fromkeys(origins.values()), settings.mixed_versions
    )
    if who := lock.holder(folder):
        notes.append(f"{folder} is being worked on by {who}")
    found = borrowable(folder, borrow_from, origins, settings.mixed_versions) if borrow_from else {}
    borrowed = sum(len(records_there) for records_there in found.values())
    begun = sum(progress.step > 0 for progress in checkpoints.unfinished_packs(folder).values())
    head = f"{settings.sweep}: {settings.task.name} ({settings.task.scale}), {len(runs)} runs"
    return "\n".join(
        [
            f"{head}, results in {folder}",
            *format_inspections(understood.runs, understood.inspections),
            *(f"  note: {note}" for note in notes),
            format_done(len(runs) - len(missing) + borrowed, len(runs), begun),
            *_costs(settings, runs, understood, footprints),
        ]
    )


@dataclass(frozen=True)
class Estimate:
    """What training takes on this machine: `seconds` for as many `runs`, those whose time is known."""

    runs: int
    seconds: float


def estimate(settings: SweepSettings, runs: list[Run]) -> Estimate:
    """The time of those runs whose variants have a profile, from this machine or the reference machine."""
    capacity = launchers.load(settings.launcher).capacity(len(runs))
    _, at_hand = _profiles(settings, runs)
    known = [run for run in runs if run.variant in at_hand]
    if not known:
        return Estimate(0, 0.0)
    sizes = best_pack_sizes(group_by_variant(known), at_hand, capacity.workers, capacity.startup_s)
    packs = plan_packs(known, sizes)
    return Estimate(len(known), makespan([pack.seconds(at_hand) for pack in packs], capacity.workers))


def _profiles(
    settings: SweepSettings, runs: list[Run]
) -> tuple[Mapping[str, Profile], Mapping[str, Profile]]:
    """The profiles of this machine, and all at hand, by variant."""
    groups = group_by_variant(runs)
    capacity = launchers.load(settings.launcher).capacity(len(runs))
    of_this_machine = profiles.load_cached(groups, settings, capacity.threads)
    of_reference_machine = {}
    if settings.pack_size is None and settings.launcher.gpu_memory_gb is None:
        of_reference_machine = profiles.of_reference_machine()
    return of_this_machine, {v: p for v, p in (of_reference_machine | of_this_machine).items() if v in groups}


def _costs(
    settings: SweepSettings, runs: list[Run], understood: Understanding, footprints: dict[str, Footprint]
) -> list[str]:
    """Packs and time as far as they are known, else what is."""
    groups = group_by_variant(runs)
    capacity = launchers.load(settings.launcher).capacity(len(runs))
    of_this_machine, at_hand = _profiles(settings, runs)
    if at_hand.keys() != groups.keys():
        lines = _lines_without_profiles(settings, groups, understood, footprints)
        return [*lines, "  packs and time are measured at launch: new on this machine"]
    packs = plan_packs(runs, best_pack_sizes(groups, at_hand, capacity.workers, capacity.startup_s))
    lines = [format_packs(runs, packs, at_hand, capacity.workers)]
    if of_this_machine.keys() != groups.keys():
        lines.append("  times as measured on the reference machine (results/reference)")
    return lines


def _lines_without_profiles(
    settings: SweepSettings,
    groups: dict[str, list[Run]],
    understood: Understanding,
    footprints: dict[str, Footprint],
) -> list[str]:
    """A line per variant; with its memory, if the memory of a device is stated."""
    titles = variant_titles(groups)
    lines = []
    for variant, group in groups.items():
        line = f"  {titles[variant]}: {len(group)} runs"
        footprint = footprints.get(variant)
        parameters = footprint.parameters if footprint else understood.parameters(group[0])
        if parameters is not None:
            line += f"; {parameters:,} parameters"
        if footprint:
            memory_gb = settings.launcher.gpu_memory_gb
            assert memory_gb is not None
            line += f"; {format_memory(footprint, len(group), memory_gb)}"
        lines.append(line)
    return lines


def format_space(settings: SweepSettings, drawn: SpaceTrials) -> list[str]:
    """The space, what of it is refused, and the trials that are known, the first of each method."""
    how = f"sampler={settings.sampler} sampler_seed={settings.sampler_seed}"
    lines = [f"  space: {settings.trials} trials of each method, {how}"]
    its_keys = {key for method in settings.methods for key in of_method(settings.space, method)}
    lines += [f"    {key}: {_range_text(of)}" for key, of in settings.space.items() if key in its_keys]
    for method in settings.methods:
        known = drawn.methods[method]
        lines += [f"  {_point_text(point)} is drawn again: {reason}" for point, reason in known.refused]
        first = "; ".join(_point_text(trial.values) for trial in known.trials[:SHOWN])
        more = "; ..." if len(known.trials) > SHOWN else ""
        lines.append(f"  {method}: {len(known.trials)} trials so far: {first}{more}")
    if settings.pruner != "none":
        lines.append(f"  {_pruning_text(settings)}")
    left = settings.trials - min(len(drawn.methods[method].trials) for method in settings.methods)
    if left > 0:
        lines.append(
            f"  {left} more trials of each method are asked for as results come in, {settings.wave} at a "
            "time; their packs and time come on top"
        )
    return lines


def _pruning_text(settings: SweepSettings) -> str:
    """`pruner=halving: the best 1/3 go on at step 25 and step 50 of 150; packs and time are ...`"""
    steps = rung_steps(settings.task, settings.reduction, settings.rungs)
    at = " and ".join(f"step {step}" for step in steps)
    return (
        f"pruner={settings.pruner}: the best 1/{settings.reduction} go on at {at} of "
        f"{settings.task.steps}; packs and time are those without pruning"
    )


def _range_text(values: object) -> str:
    """`log 0.0001 to 1`, or the choices."""
    if isinstance(values, list):
        return ", ".join(map(str, values))
    assert isinstance(values, dict)
    ((kind, (low, high)),) = values.items()
    return f"{kind} {low:g} to {high:g}"


def _point_text(values: Values) -> str:
    """`lr=0.0123 method.lora.r=8`"""
    texts = {key: f"{value:.3g}" if isinstance(value, float) else str(value) for key, value in values.items()}
    return " ".join(f"{key}={text}" for key, text in texts.items())
