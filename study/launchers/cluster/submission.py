"""Submitting a batch of jobs as an array, through submitit.

    results/<name>/slurm/code-<digest>/study/     the code as it was at submission
    results/<name>/slurm/<batch>/submitit/        submitit's scripts and logs

submitit's own results are never read: they are pickles, and without accounting its states are unknown
for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from study.errors import UsageError, first_line
from study.launchers.cluster import squeue
from study.launchers.cluster.batches import ArrayTask, Batches, batch_name
from study.launchers.cluster.environment import for_slurm, without_options
from study.launchers.processes.machine import worker_environment
from study.paths import PACKAGE
from study.planning.jobs import Job, job_key, job_to_json
from study.settings import LauncherSettings

RETRY_S = 600.0
"""How long a submission is tried again while Slurm's controller is away."""

NODE_PROGRAM = "study.training.node"
"""What a task runs, known by its name alone: it needs torch, and nothing on this side does."""

MakeExecutor = Callable[[LauncherSettings, Path, str], Any]
"""Makes submitit's executor for the settings, the folder `slurm` of a study, and a batch."""


LIMIT = re.compile(
    r"\w*Submit\w*Limit|accounting/QOS policy|submission failed: Resource temporarily unavailable"
    r"|job queue full|Invalid job array specification"
)
"""What sbatch says when it would take fewer tasks, or these later."""
OTHER_LIMIT = re.compile(r"\b(?:Assoc|QOS)\w*Limit\b")
"""Limits on what a single job asks for; those on the number of jobs have `Submit` in their names."""


class TooMany(Exception):
    """Slurm takes no more tasks now, or not so many at once; `str` is the limit in its words."""


def submit(
    batches: Batches, jobs: Sequence[Job], settings: LauncherSettings, make_executor: MakeExecutor
) -> tuple[str, dict[str, ArrayTask]]:
    """Submits the jobs as one array, again while Slurm's controller is away.

    Returns:
        Slurm's number of the array, and its tasks by the keys of their jobs.

    Raises:
        TooMany: if it is their number that Slurm refuses.
        UsageError: if Slurm refuses them for another reason.
    """
    keys = [job_key(job) for job in jobs]
    batch = batches.new(keys)
    answer_files = [str(batches.answer_file(ArrayTask(batch, index))) for index in range(len(jobs))]
    deadline, wait_s = time.monotonic() + RETRY_S, 5.0
    while True:
        try:
            executor = make_executor(settings, batches.folder, batch)
            with (
                contextlib.redirect_stderr(io.StringIO()),
                without_options(),
            ):  # what sbatch says is in the error
                submitted = executor.map_array(run_on_node, answer_files, [job_to_json(job) for job in jobs])
            break
        except Exception as error:
            text = f"{error} {getattr(error, 'stderr', '')}"
            if limit := _limit(text):
                batches.drop(batch)
                raise TooMany(limit) from None
            if not any(words in text for words in squeue.TRANSIENT) or time.monotonic() > deadline:
                batches.drop(batch)
                raise UsageError(f"launcher=slurm: {_refusal(text)}") from None
            print(f"Slurm does not answer; trying again in {wait_s:.0f} s", flush=True)
            time.sleep(wait_s)
            wait_s = min(60.0, 2 * wait_s)
            cancel = ["scancel", f"--name={batch_name(batch)}", "--me"]  # it may have been taken after all
            subprocess.run(cancel, capture_output=True, env=for_slurm())
    array = str(submitted[0].job_id).split("_")[0]
    return array, {key: ArrayTask(batch, index) for index, key in enumerate(keys)}


def run_on_node(answer_file: str, job: dict[str, Any]) -> None:
    """What submitit calls in an array task; the job is as `job_to_json` writes it: it crosses a pickle."""
    importlib.import_module(NODE_PROGRAM).run(answer_file, job)


def _refusal(text: str) -> str:
    """What sbatch said, without what submitit and Python add."""
    lines = [line.strip() for line in text.splitlines() if "sbatch: error:" in line]
    return lines[-1].removeprefix("sbatch: error: ") if lines else first_line(Exception(text))


def _limit(text: str) -> str:
    """The limit on the number of tasks that sbatch refuses for; empty if that is not the reason."""
    found = LIMIT.search(text)
    other = OTHER_LIMIT.search(text)
    if not found or (other and "Submit" not in other.group()):
        return ""
    return found.group() if found.group().endswith("Limit") else _refusal(text)


def snapshot(folder: Path) -> Path:
    """A copy of the package, so that editing the checkout does not change queued jobs."""
    files = sorted(p for p in PACKAGE.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    content = hashlib.sha256()
    for path in files:
        content.update(str(path.relative_to(PACKAGE)).encode() + b"\0" + path.read_bytes())
    copy = folder / f"code-{content.hexdigest()[:12]}"
    if not copy.exists():
        partial = folder / f".{copy.name}.{os.getpid()}.tmp"
        shutil.copytree(PACKAGE, partial / "study", ignore=shutil.ignore_patterns("__pycache__"))
        partial.rename(copy)
    return copy


def submitit_executor(settings: LauncherSettings, folder: Path, batch: str) -> Any:
    """submitit's, told all that the settings say; requeueing is ours (`study.training.node`)."""
    import submitit

    environment = worker_environment(settings.cpus_per_task, settings.device, snapshot(folder))
    environment |= {"PYTHONSAFEPATH": "1", "STUDY_TIMEOUT_S": str(60 * settings.timeout_min)}
    parameters = {
        "slurm_job_name": batch_name(batch),
        "timeout_min": settings.timeout_min,
        "cpus_per_task": settings.cpus_per_task,
        "gpus_per_node": settings.gpus_per_node,
        "mem_gb": settings.mem_gb,
        "slurm_partition": settings.partition,
        "slurm_account": settings.account,
        "slurm_qos": settings.qos,
        "slurm_constraint": settings.constraint,
        "slurm_exclude": settings.exclude,
        "slurm_array_parallelism": settings.array_parallelism,
        "slurm_setup": [*settings.setup, *(f"export {k}={shlex.quote(v)}" for k, v in environment.items())],
        "slurm_additional_parameters": settings.additional_parameters or None,
        # What sbatch was told of cores does not reach srun by itself, since Slurm 22.05.
        "slurm_srun_args": [f"--cpus-per-task={settings.cpus_per_task}", "--export=ALL"],
        "slurm_signal_delay_s": 1,  # tasks know their time; Slurm may send it a minute early
    }
    executor = submitit.AutoExecutor(
        folder=folder / batch / "submitit", cluster="slurm", slurm_max_num_timeout=10**6
    )
    executor.update_parameters(**{key: value for key, value in parameters.items() if value is not None})
    return executor
