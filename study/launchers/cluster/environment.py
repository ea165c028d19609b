"""What Slurm's commands are told through the environment: how Slurm is reached, and nothing else.

`sbatch` obeys SBATCH_* before its script, `srun` obeys SLURM_* and SRUN_* before what `sbatch` was told, and
`squeue` leaves out what SQUEUE_* says. A user's profile sets some of them, and a command that is started from
inside a Slurm job inherits dozens. What is submitted is decided by the launcher's settings alone.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping

from study.settings import LauncherSettings

REACH = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_CLUSTERS", "SLURM_JWT"}
"""Say which Slurm is meant and who asks, to every command alike: these are kept."""

OPTIONS = (
    "SBATCH_", "SLURM_", "SRUN_", "SALLOC_", "SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SCONTROL_",
    "SLURMD_", "SLURMSTEPD_", "SPANK_", "_SLURM_", "PMI_", "PMIX_",
)  # fmt: skip
"""How the names begin of what Slurm's commands read, and of what a job is told of itself."""

DEVICES = {
    "CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES", "ZE_AFFINITY_MASK",
}  # fmt: skip
"""GPUs of this place; a task has its own."""

DECIDES = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_CONSTRAINT": "constraint",
    "SBATCH_GPUS_PER_NODE": "gpus_per_node",
    "SBATCH_MEM_PER_NODE": "mem_gb",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_TIMELIMIT": "timeout_min",
}
"""The setting that decides what a variable would."""


def is_inherited(name: str) -> bool:
    """Whether a variable would tell Slurm's commands or a task something that our settings decide."""
    return name in DEVICES or (name.startswith(OPTIONS) and name not in REACH)


def for_slurm() -> dict[str, str]:
    """This process's environment as Slurm's commands may know it."""
    return {name: value for name, value in os.environ.items() if not is_inherited(name)}


@contextlib.contextmanager
def without_options() -> Iterator[None]:
    """Inside, this process has no other environment: submitit hands its own on."""
    removed = {name: os.environ.pop(name) for name in list(os.environ) if is_inherited(name)}
    try:
        yield
    finally:
        os.environ.update(removed)


def unused(environment: Mapping[str, str], settings: LauncherSettings) -> str:
    """A line that names the options for sbatch that are not used, and what decides instead; empty if none."""
    options = [
        f"{name}={value}" + (f" (launcher.{key}={_value(settings, key)} decides)" if key else "")
        for name, value in sorted(environment.items())
        if name.startswith("SBATCH_")
        for key in [DECIDES.get(name)]
    ]
    return f"from the environment, not used: {', '.join(options)}" if options else ""


def _value(settings: LauncherSettings, key: str) -> str:
    value = getattr(settings, key)
    return "null" if value is None else str(value)
