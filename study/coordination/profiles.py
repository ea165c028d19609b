"""Profiles of methods on this machine: kept, found again, and measured where they are missing."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import tempfile
from pathlib import Path
from typing import Any

from study.errors import UsageError
from study.launchers.local import Pool, cores, gpus
from study.launchers.slurm import Queue
from study.paths import REFERENCE
from study.planning.runs import Profile, Run, digest
from study.settings import SweepSettings
from study.storage.files import write_atomically
from study.storage.provenance import provenance

VERSION = 3
"""Of what a profile holds; older ones are measured anew."""


def cache_file(variant: str, runs: int, settings: SweepSettings, threads: int) -> Path:
    """Where this machine's profile of a variant of `runs` runs is kept, measured or not."""
    own = settings.launcher
    machine: list[Any] = [platform.node(), platform.machine(), cores(), threads, gpus(), own.device]
    if own.name == "slurm":
        machine = [own.name, own.partition, own.constraint, own.gpus_per_node, threads, own.device]
    key = digest(
        [VERSION, variant, runs, settings.pack_size, own.gpu_memory_gb, machine, provenance()["versions"]]
    )
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return cache / "ether-study" / "profiles" / f"{key}.json"


def kept(groups: dict[str, list[Run]], settings: SweepSettings, threads: int) -> dict[str, Profile]:
    """The profiles that this machine has measured before."""
    files = {v: cache_file(v, len(group), settings, threads) for v, group in groups.items()}
    return {variant: json.loads(path.read_text()) for variant, path in files.items() if path.exists()}


def of_reference_machine() -> dict[str, Profile]:
    """The profiles behind the committed reference results."""
    found: dict[str, Profile] = {}
    for path in sorted(REFERENCE.glob("*/plan.json")):
        found |= json.loads(path.read_text())["profiles"]
    return found


def estimated(groups: dict[str, list[Run]], settings: SweepSettings) -> dict[str, Profile]:
    """What each variant needs of a device's memory, from the shape of its model: no weights are loaded.

    Raises:
        UsageError: if a method does not fit the model, or the model's configuration or the data is not there.
    """
    jobs = [
        {"kind": "estimate", "variant": v, "run": dataclasses.asdict(group[0])} for v, group in groups.items()
    ]
    found = {}
    own = dataclasses.replace(settings.launcher, name="local", device="cpu")
    with tempfile.TemporaryDirectory() as logs, Pool(own, 1, Path(logs)) as pool:
        for job, answer in pool.do(jobs):
            if answer["event"] != "done" or "refused" in answer:
                raise UsageError(answer.get("refused") or f"estimating {Run(**job['run']).title} failed")
            found[job["variant"]] = answer["profile"]
    return found


def measured(groups: dict[str, list[Run]], settings: SweepSettings, pool: Pool | Queue) -> dict[str, Profile]:
    """Each variant's profile, kept from before or measured now in the pool.

    Raises:
        UsageError: if a method does not fit the model, or the base model cannot be loaded.
    """
    found = kept(groups, settings, pool.threads)
    jobs = [
        {
            "kind": "profile",
            "variant": variant,
            "run": dataclasses.asdict(group[0]),
            "runs": len(group),
            "pack_size": settings.pack_size,
            "memory_gb": settings.launcher.gpu_memory_gb,
        }
        for variant, group in groups.items()
        if variant not in found
    ]
    if jobs:
        where = "the cluster" if settings.launcher.name == "slurm" else "this machine"
        print(f"measuring {len(jobs)} methods on {where} ...", flush=True)
    refused = []
    for job, answer in pool.do(jobs):
        if answer["event"] != "done":
            cause = answer.get("cause") or f"its worker ended with code {answer['code']}; see logs/"
            raise UsageError(f"measuring {Run(**job['run']).title}: {cause}")
        if "refused" in answer:
            refused.append(answer["refused"])
            continue
        variant = job["variant"]
        found[variant] = answer["profile"]
        path = cache_file(variant, job["runs"], settings, pool.threads)
        write_atomically(path, json.dumps(answer["profile"]).encode())
    if refused:
        raise UsageError(min(refused))
    return found
