"""What an array task runs on its node: one job, then its answer in a file.

It knows when its time is up and stops at a checkpoint before; so it does when Slurm sends SIGUSR2 or
SIGTERM. After the first two it puts itself back in the queue; on SIGTERM (scancel, requeue or
preemption) that is Slurm's business. None of it is relied on: checkpoints are also written by the clock.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from study.launchers.cluster.batches import write_answer
from study.launchers.processes.machine import cores
from study.planning.jobs import Job, TrainJob, job_from_json
from study.storage.checkpoints import Stopped, Superseded, unfinished_packs


def run(answer_file: str, job_json: Mapping[str, Any]) -> None:
    """Does the job, which is as `job_to_json` writes it, and writes its answer."""
    import torch

    from study.tasks.loading.device import device
    from study.training.worker import Worker

    job = job_from_json(job_json)
    deadline = Deadline()
    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, deadline.signalled)
    torch.set_num_threads(min(int(os.environ["OMP_NUM_THREADS"]), cores()))
    worker = Worker(device(), deadline.passed)
    begun_at = _step_of(job)
    try:
        answer = worker.do(job)
    except Stopped:
        if deadline.terminated:
            sys.exit(128 + signal.SIGTERM)
        if _step_of(job) <= begun_at:
            raise RuntimeError("the time limit is too short for a single step; raise timeout_min") from None
        requeue()
    except Superseded:  # the answer is the later attempt's
        print("a later attempt has this pack", flush=True)
        return
    write_answer(Path(answer_file), answer)


def _step_of(job: Job) -> int:
    """The step of the last checkpoint of the job's pack; 0 if there is none."""
    if not isinstance(job, TrainJob):
        return 0
    progress = unfinished_packs(Path(job.folder)).get(job.pack_id)
    return progress.step if progress else 0


class Deadline:
    """When to stop: a while before the time limit, or when a signal says so."""

    def __init__(self) -> None:
        ends = os.environ.get("SLURM_JOB_END_TIME")
        limit_s = float(ends) - time.time() if ends else float(os.environ["STUDY_TIMEOUT_S"])
        self.at = time.monotonic() + limit_s - min(60.0, 0.2 * limit_s)
        self.asked = self.terminated = False

    def signalled(self, number: int, _: Any) -> None:
        self.asked = True
        self.terminated = self.terminated or number == signal.SIGTERM

    def passed(self) -> bool:
        return self.asked or time.monotonic() >= self.at


def requeue() -> None:
    """Puts this task back in the queue, which ends it; it will go on from its checkpoint."""
    task = os.environ["SLURM_JOB_ID"]
    for wait_s in (1, 5, 15, 0):
        done = subprocess.run(["scontrol", "requeue", task], capture_output=True, text=True)
        if done.returncode == 0:
            time.sleep(60)  # until Slurm ends this process
            break
        print(done.stderr, file=sys.stderr, flush=True)
        time.sleep(wait_s)
    sys.exit(128 + signal.SIGUSR2)
