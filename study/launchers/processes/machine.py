"""This machine: its cores, GPUs and memory, and what a worker is told through its environment."""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from study.launchers.processes import folders
from study.launchers.processes.cgroups import cpu_quota, memory_limit
from study.settings import LauncherSettings

WORKER_GIB = 1.0
"""Main memory that one worker needs with a small model."""


def affinity() -> list[int]:
    """The cores that this process may run on, by number: a cpuset or `taskset` may leave it some only."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def cores() -> int:
    """How many cores' worth of time this process is given: by affinity, by cgroups, by Slurm; at least one.

    A quota of 1.5 is one core: a second thread would wait half of its time, and the first for it.
    """
    limits = [len(affinity())]
    if quota := cpu_quota():
        limits.append(int(quota))
    # Of a step, then of the whole job on this node: Slurm need not bind its tasks to cores.
    of_slurm = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE") or ""
    if of_slurm.isdigit():
        limits.append(int(of_slurm))
    return max(1, min(limits))


def gpus() -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    return list(_uuids())


def gpu_identities(names: Sequence[str]) -> list[str]:
    """What these GPUs are called everywhere on the machine: in a container or a Slurm job, 0 may be any."""
    uuids = _uuids()
    return [
        uuids.get(name) or next((uuid for uuid in uuids.values() if name and uuid.startswith(name)), name)
        for name in names
    ]


@functools.cache
def _uuids() -> dict[str, str]:
    """The machine's GPUs: what each is called everywhere, by its number here."""
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.SubprocessError):
        return {}
    lines = [line for line in listed.splitlines() if line.startswith("GPU ")]
    found = [re.search(r"UUID: ([\w-]+)", line) for line in lines]
    return {str(i): uuid.group(1) if uuid else str(i) for i, uuid in enumerate(found)}


def worker_count(settings: LauncherSettings, most: int, free_cores: int, free_gpus: int) -> int:
    """Workers that pay off: one per GPU, else one per core as far as memory goes, at most `most`."""
    if settings.workers is not None:
        return min(settings.workers, most)
    if free_gpus:
        return min(free_gpus, most)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    memory_gib = min(memory, memory_limit() or memory) / 2**30
    return max(1, min(free_cores, most, int(memory_gib / WORKER_GIB)))


def worker_environment(threads: int, device: str | None, code: Path) -> dict[str, str]:
    """What a worker is told through its environment, wherever it runs.

    Args:
        code: folder that holds the package `study`.

    Raises:
        UsageError: if files for a moment cannot be written anywhere.
    """
    variables = {
        "OMP_NUM_THREADS": str(threads),
        # How long a thread waits for the others by turning round. At the library's 300,000 a worker of two
        # threads takes ten times as long beside one busy process; at 1,000 a half more, and alone the same.
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "1000"),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONPATH": os.pathsep.join([str(code), *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    hub = {key: os.environ[key] for key in ("HF_HOME", "HF_HUB_OFFLINE") if key in os.environ}
    return variables | hub | folders.elsewhere() | ({"STUDY_DEVICE": device} if device else {})


def out_of_memory_kills() -> int:
    """How many processes this machine's kernel has killed for want of memory."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
