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
from pathlib import Path
from typing import Any

from study.storage.files import to_json, write_atomically


def run(answer_file: str, job: dict[str, Any]) -> None:
    """Does the job and writes its answer; submitit calls it."""
    import torch

    from study.storage.checkpoints import Stopped, Superseded, packs
    from study.training.worker import Worker, device

    deadline = Deadline()
    for number in (signal.SIGUSR2, signal.SIGTERM):
        signal.signal(number, deadline.signalled)
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    worker = Worker(device(), deadline.passed)
    begun_at = packs(Path(job["folder"])).get(job["pack_id"], (0, 0))[1] if job["kind"] == "train" else 0
    try:
        answer = getattr(worker, job["kind"])(job)
    except Stopped:
        if deadline.terminated:
            sys.exit(128 + signal.SIGTERM)
        if packs(Path(job["folder"]))[job["pack_id"]][1] <= begun_at:
            raise RuntimeError("the time limit is too short for a single step; raise timeout_min") from None
        requeue()
    except Superseded:  # the answer is the later attempt's
        print("a later attempt has this pack", flush=True)
        return
    write_atomically(Path(answer_file), to_json(answer))


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
