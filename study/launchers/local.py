"""This machine: a pool of worker processes, and jobs given to whichever is free.

Workers are separate programs in sessions of their own, so that a Ctrl-C in the terminal reaches the
coordinator alone. Each has one share of the cores, or one GPU. A worker that dies is replaced, and the new
one goes on with its job from the last checkpoint, DEATHS times at most.
"""

from __future__ import annotations

import os
import platform
import queue
import signal
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType

from study.launchers import Capacity, Launcher, Session, refuse_settings_of_others
from study.launchers.processes.machine import (
    cores,
    gpus,
    out_of_memory_kills,
    threads_per_worker,
    worker_count,
    worker_environment,
)
from study.launchers.processes.worker_process import WorkerProcess
from study.paths import PACKAGE
from study.planning.jobs import Answer, Died, Job
from study.settings import LauncherSettings

DEATHS = 3
"""So many workers may die over a job before it is given up."""
GRACE_S = 8.0
"""How long workers that are asked to stop may take to save what they train."""
FOR_SLURM = (
    "partition", "account", "qos", "constraint", "exclude", "gpus_per_node", "mem_gb", "setup",
    "additional_parameters",
)  # fmt: skip


class Local(Launcher):
    description = "this machine"

    def validate(self) -> None:
        refuse_settings_of_others(self.settings, FOR_SLURM, "{key} is for Slurm; give launcher=slurm as well")

    def capacity(self, jobs: int) -> Capacity:
        workers = worker_count(self.settings, jobs)
        return Capacity(workers, threads_per_worker(workers))  # workers are warm: no start-up for each job

    def cache_key(self, threads: int) -> list[str | int | list[str] | None]:
        return [platform.node(), platform.machine(), cores(), threads, gpus(), self.settings.device]

    def open(self, folder: Path, jobs: int, detach: bool = False) -> Pool:
        return Pool(self.settings, self.capacity(jobs), folder / "logs")


class Pool(Session):
    """Worker processes for as long as the `with` block lasts; they are killed when it ends.

    Args:
        logs: folder for what the workers print.
    """

    def __init__(self, settings: LauncherSettings, capacity: Capacity, logs: Path) -> None:
        self.settings, self.capacity, self.logs = settings, capacity, logs
        self.answers: queue.Queue[tuple[WorkerProcess, Answer]] = queue.Queue()
        self.processes: list[WorkerProcess] = []

    def environment(self, index: int) -> dict[str, str]:
        variables = worker_environment(self.capacity.threads, self.settings.device, PACKAGE.parent)
        if self.settings.device != "cpu" and (devices := gpus()):
            variables["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
        return os.environ | variables

    def _new_process(self, index: int) -> WorkerProcess:
        return WorkerProcess(index, self.environment(index), self.logs, self.answers)

    def __enter__(self) -> Pool:
        self.logs.mkdir(parents=True, exist_ok=True)
        self.processes = [self._new_process(index) for index in range(self.capacity.workers)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                self._let_save()
        finally:
            for worker in self.processes:
                if worker.alive:
                    os.killpg(worker.process.pid, signal.SIGKILL)
            for worker in self.processes:
                worker.process.wait()

    def _let_save(self) -> None:
        """Asks the workers to stop and waits until they have, or until a second interrupt."""
        for worker in self.processes:
            if worker.alive:
                worker.process.terminate()
        deadline = time.monotonic() + GRACE_S
        while any(worker.alive for worker in self.processes) and time.monotonic() < deadline:
            time.sleep(0.05)

    def do(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        """See `Session.do`. A job is given up with `Died` if DEATHS workers died over it, or if the kernel
        killed one for want of memory."""
        waiting = list(reversed(jobs))
        deaths: dict[int, int] = {}
        kills = out_of_memory_kills()
        unanswered = len(jobs)
        for worker in self.processes:
            if waiting:
                worker.give(waiting.pop())
        while unanswered:
            worker, answer = self.answers.get()
            job = worker.job
            if isinstance(answer, Died):
                worker = self.processes[worker.index] = self._new_process(worker.index)
                for_memory = answer.killed and out_of_memory_kills() > kills
                kills = out_of_memory_kills()
                if job is not None:
                    deaths[id(job)] = deaths.get(id(job), 0) + 1
                    if deaths[id(job)] < DEATHS and not for_memory:
                        worker.give(job)
                        continue
            if job is not None:
                unanswered -= 1
                worker.job = None
                yield job, answer
            if worker.job is None and waiting:
                worker.give(waiting.pop())
