"""This machine: a pool of worker processes, and jobs given to whichever is free.

Workers are separate programs in sessions of their own, so that a Ctrl-C in the terminal reaches the
coordinator alone. Each has one share of the cores, or one GPU. A worker that dies is replaced, and the new
one goes on with its job from the last checkpoint, DEATHS times at most.

Studies on one machine share it. Cores: a study takes the free ones, and at least as many as an even share;
one that began with more gives some back when its packs end, and takes them again once they are free. GPUs:
a study takes free ones, waits for one where there is none, and keeps what it has.
"""

from __future__ import annotations

import functools
import os
import platform
import queue
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType

from study.launchers import Capacity, Launcher, Session, refuse_settings_of_others
from study.launchers.processes import folders
from study.launchers.processes.machine import (
    cores,
    gpus,
    out_of_memory_kills,
    worker_count,
    worker_environment,
)
from study.launchers.processes.neighbours import Place, Use, free_gpus, share_of_cores
from study.launchers.processes.worker_process import WorkerProcess
from study.paths import PACKAGE
from study.planning.jobs import Answer, Died, Job, Probed
from study.settings import LauncherSettings

DEATHS = 3
"""So many workers may die over a job before it is given up."""
LOOK_S = 2.0
"""Seconds between two looks for a free GPU."""
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
        place = Place(Path())  # looks only
        neighbours = place.neighbours()
        share = share_of_cores(place.use, neighbours)
        devices = _devices(self.settings)
        free = len(free_gpus(devices, neighbours)) or min(1, len(devices))  # one is waited for
        workers = worker_count(self.settings, jobs, share, free)
        return Capacity(workers, max(1, share // workers))  # workers are warm: no start-up for each job

    def cache_key(self, threads: int) -> list[str | int | list[str] | None]:
        return [platform.node(), platform.machine(), cores(), threads, gpus(), self.settings.device]

    def open(self, folder: Path, jobs: int, detach: bool = False) -> Pool:
        return Pool(self.settings, self.capacity(jobs), folder)


def _devices(settings: LauncherSettings) -> list[str]:
    """The GPUs that workers may use."""
    return [] if settings.device == "cpu" else gpus()


class Pool(Session):
    """Worker processes for as long as the `with` block lasts; they are killed when it ends.

    Args:
        study: its folder; what the workers print goes into `logs` in it.
    """

    def __init__(self, settings: LauncherSettings, capacity: Capacity, study: Path) -> None:
        self.settings, self.capacity, self.logs = settings, capacity, study / "logs"
        self.answers: queue.Queue[tuple[WorkerProcess, Answer]] = queue.Queue()
        self.processes: list[WorkerProcess] = []
        self.place = Place(study)
        self.devices: list[str] = []
        self._room = capacity.workers
        self._beside: dict[int, str] = {}

    def environment(self, index: int) -> dict[str, str]:
        variables = worker_environment(self.capacity.threads, self.settings.device, PACKAGE.parent)
        if self.devices:
            variables["CUDA_VISIBLE_DEVICES"] = self.devices[index % len(self.devices)]
        return os.environ | variables

    def _new_process(self, index: int) -> WorkerProcess:
        return WorkerProcess(index, self.environment(index), self.logs, self.answers)

    def __enter__(self) -> Pool:
        self.logs.mkdir(parents=True, exist_ok=True)
        _say_once(folders.words(folders.elsewhere()))
        workers = self.capacity.workers
        if devices := _devices(self.settings):
            self.devices = self._take_gpus(devices)
            if self.settings.workers is None:
                workers = len(self.devices)
        self.place.take(workers * self.capacity.threads)
        if neighbours := self.place.neighbours():
            what = f"{self.place.use.cores} of {cores()} cores"
            if devices:
                what = f"GPU {', '.join(self.devices)} of {', '.join(devices)}, and {what}"
            _say_once(f"also at work on this machine: {_words(neighbours)}; this study takes {what}")
        self.processes = [self._new_process(index) for index in range(workers)]
        return self

    def _take_gpus(self, devices: Sequence[str]) -> list[str]:
        """GPUs that no other study uses, after waiting for one if need be; any, where `workers` is set."""
        told = False
        while not (
            taken := self.place.take_gpus(devices, self.capacity.workers, self.settings.workers is not None)
        ):
            if not told:
                print(
                    f"waiting for a GPU: {_words(self.place.neighbours())} on this machine; "
                    "launcher.workers=1 shares one, launcher.device=cpu needs none",
                    flush=True,
                )
            told = True
            time.sleep(LOOK_S)
        return taken

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
            self.place.leave()

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
        while unanswered:
            self._hand_out(waiting)
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
                yield job, self._as_disturbed(job, answer)

    def _hand_out(self, waiting: list[Job]) -> None:
        """Gives jobs, the last ones first, to the workers that may be busy beside other studies."""
        neighbours = self.place.neighbours()
        room = self._room_beside(neighbours)
        if room != self._room:
            beside = f" beside {_words(neighbours)}" if neighbours else ", alone on this machine again"
            print(f"going on with {room} of {len(self.processes)} workers{beside}", flush=True)
        self._room = room
        busy = sum(worker.job is not None for worker in self.processes)
        for worker in self.processes:
            if waiting and busy < room and worker.job is None:
                worker.give(job := waiting.pop())
                self._beside[id(job)] = _words(neighbours)
                busy += 1
        self.place.take(busy * self.capacity.threads)

    def _room_beside(self, neighbours: Sequence[Use]) -> int:
        """How many workers may be busy at a time."""
        if self.devices or self.settings.workers is not None:
            return len(self.processes)
        share = share_of_cores(self.place.use, neighbours)
        return max(1, min(len(self.processes), share // self.capacity.threads))

    def _as_disturbed(self, job: Job, answer: Answer) -> Answer:
        """An answer as it is; one to a probe with what else was at work while it measured."""
        beside = self._beside.pop(id(job), "") or _words(self.place.neighbours())
        if isinstance(answer, Probed) and beside:
            return replace(answer, disturbed=f"{beside} at work on this machine")
        return answer


@functools.cache
def _say_once(line: str) -> None:
    """A command may open several sessions, one to look at its tasks first."""
    if line:
        print(line, flush=True)


def _words(neighbours: Sequence[Use]) -> str:
    """`results/a (process 12)` and how many more."""
    more = f" and {len(neighbours) - 1} more" if len(neighbours) > 1 else ""
    return f"{neighbours[0].words}{more}" if neighbours else ""
