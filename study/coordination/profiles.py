"""Profiles of methods on this machine: found in a cache, and measured by a *probe* where they are missing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from study import launchers
from study.cli.progress import counted
from study.coordination.plan_file import FILE, read_profiles
from study.errors import UsageError
from study.launchers import Session
from study.paths import REFERENCE, cache_folder
from study.planning.jobs import Died, Estimated, EstimateJob, Lost, Probed, ProbeJob, Refused
from study.planning.profile import Footprint, Profile
from study.planning.runs import Run, digest
from study.planning.space import expected_runs, of_method
from study.settings import SweepSettings
from study.storage.files import CannotWrite, write_atomically
from study.storage.provenance import provenance

VERSION = 4
"""Of what a profile holds; older ones are measured anew."""

SAME_COST = ("steps", "warmup_steps", "evaluations", "clip")
"""Settings that split packs and change neither what a step costs nor what it needs."""

Groups = Mapping[str, list[Run]]
"""Runs that can share packs, by variant."""


def cache_file(variant: str, num_runs: int, settings: SweepSettings, threads: int) -> Path:
    """Where this machine's profile of a variant of so many runs is kept, measured or not."""
    machine = launchers.load(settings.launcher).cache_key(threads)
    memory_gb = settings.launcher.gpu_memory_gb
    key = digest([VERSION, variant, num_runs, settings.pack_size, memory_gb, machine, provenance().versions])
    return cache_folder() / "profiles" / f"{key}.json"


def load_cached(groups: Groups, settings: SweepSettings, threads: int) -> dict[str, Profile]:
    """The profiles that this machine has measured before; what cannot be read is measured again."""
    measured, by = _to_measure(groups, settings)
    profiles = _cached(measured, settings, threads)
    return {variant: profiles[by[variant]] for variant in groups if by[variant] in profiles}


def _cached(groups: Groups, settings: SweepSettings, threads: int) -> dict[str, Profile]:
    profiles = {}
    for variant, group in groups.items():
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            path = cache_file(variant, len(group), settings, threads)
            profiles[variant] = Profile.from_json(json.loads(path.read_text()))
    return profiles


def _to_measure(groups: Groups, settings: SweepSettings) -> tuple[Groups, dict[str, str]]:
    """What is to be measured of the groups, and under which variant each variant's profile will be found.

    That is the variant itself, but in a space. There, variants whose steps cost the same share a profile, of
    as many runs as a wave has of them on average: so what is measured does not depend on what was drawn, and
    is found in the cache again.
    """
    if not settings.space:
        return groups, {variant: variant for variant in groups}
    own = {name: getattr(settings.task, name) for name in SAME_COST}
    alike = {
        variant: replace(group[0], task=replace(group[0].task, **own)) for variant, group in groups.items()
    }
    measured = {}
    for run in alike.values():
        count = expected_runs(of_method(settings.space, run.method), settings)
        measured[run.variant] = [run] * count
    return measured, {variant: run.variant for variant, run in alike.items()}


def of_reference_machine() -> dict[str, Profile]:
    """The profiles behind the committed reference results, those of the atlas too, which lie deeper."""
    profiles: dict[str, Profile] = {}
    for path in sorted(REFERENCE.rglob(FILE)):
        profiles |= read_profiles(json.loads(path.read_text()))
    return profiles


def estimate(groups: Groups, session: Session) -> dict[str, Footprint]:
    """What each variant needs of a device's memory, from the shape of its model: no weights are loaded.

    Raises:
        UsageError: if a method does not fit the model, or the model's configuration or the data is not there.
    """
    footprints = {}
    for job, answer in session.do([EstimateJob(variant, group[0]) for variant, group in groups.items()]):
        assert isinstance(job, EstimateJob)
        match answer:
            case Estimated(footprint):
                footprints[job.variant] = footprint
            case Refused(reason):
                raise UsageError(reason)
            case _:
                raise UsageError(f"estimating {job.title} failed")
    return footprints


def probe_missing(
    groups: Groups, settings: SweepSettings, session: Session, threads: int
) -> dict[str, Profile]:
    """Each variant's profile, from the cache or measured now by the session.

    Raises:
        UsageError: if a method does not fit the model, or the base model cannot be loaded.
    """
    measured, by = _to_measure(groups, settings)
    profiles = _cached(measured, settings, threads)
    jobs = [
        ProbeJob(variant, group[0], len(group), settings.pack_size, settings.launcher.gpu_memory_gb)
        for variant, group in measured.items()
        if variant not in profiles
    ]
    if not jobs:
        return {variant: profiles[by[variant]] for variant in groups}
    where = launchers.load(settings.launcher).description
    methods = f"{len(jobs)} method{'s' * (len(jobs) > 1)}"
    refusals = []
    unkept: dict[str, list[str]] = {}
    for job, answer in counted(session.do(jobs), f"measuring {methods} on {where}", len(jobs)):
        assert isinstance(job, ProbeJob)
        match answer:
            case Probed(profile, disturbed):
                profiles[job.variant] = profile
                reason = disturbed or _keep(profile, cache_file(job.variant, job.num_runs, settings, threads))
                if reason:
                    unkept.setdefault(reason, []).append(job.title)
            case Refused(reason):
                refusals.append(reason)
            case Died():
                raise UsageError(f"measuring {job.title}: {answer.words}")
            case Lost(cause):
                raise UsageError(f"measuring {job.title}: {cause}")
            case _:
                raise AssertionError(answer)
    for reason, titles in unkept.items():
        print(
            f"what was measured of {', '.join(titles)} is for this study alone, not kept: {reason}",
            flush=True,
        )
    if refusals:
        raise UsageError(min(refusals))
    return {variant: profiles[by[variant]] for variant in groups}


def _keep(profile: Profile, path: Path) -> str:
    """Keeps a profile in the cache; returns why it cannot be kept, which only costs measuring it again."""
    try:
        write_atomically(path, json.dumps(profile.to_json()).encode())
    except CannotWrite as error:
        return f"{path.parent} cannot be written ({str(error).rpartition(': ')[2]})"
    return ""
