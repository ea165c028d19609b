"""The local launcher: a pool of worker processes, and jobs given to whichever is free.

Workers are separate programs (`study.training.worker`) in sessions of their own, so that a Ctrl-C in the
terminal reaches the coordinator alone. Each has one share of the cores, or one GPU. A worker that
dies is replaced, and the new one goes on with its job from the last checkpoint, DEATHS times at most.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from study.paths import PACKAGE
from study.planning.runs import Pack, Run
from study.settings import LauncherSettings

WORKER_GIB = 1.0
"""Main memory that one worker needs with a small model."""
DEATHS = 3
"""So many workers may die over a job before it is given up."""
GRACE_S = 8.0
"""How long workers that are asked to stop may take to save what they train."""

Job = dict[str, Any]
Answer = dict[str, Any]


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def gpus() -> list[str]:
    """The GPUs that may be used, as CUDA_VISIBLE_DEVICES names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name.strip()]
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return []
    return [str(i) for i, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]


def threads_per_worker(workers: int) -> int:
    return max(1, cores() // workers)


def worker_environment(threads: int, device: str | None, code: Path) -> dict[str, str]:
    """What a worker is told through its environment, wherever it runs.

    Args:
        code: folder that holds the package `study`.
    """
    own = {
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
    return own | hub | ({"STUDY_DEVICE": device} if device else {})


def out_of_memory_kills() -> int:
    """How many processes this machine's kernel has killed for want of memory."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)


def worker_count(settings: LauncherSettings, most: int) -> int:
    """Workers that pay off: one per GPU, else one per core as far as memory goes, at most `most`."""
    if settings.workers is not None:
        return min(settings.workers, most)
    if settings.device != "cpu" and gpus():
        return min(len(gpus()), most)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
    return max(1, min(cores(), most, int(memory / WORKER_GIB)))


def halves(job: Job, again: bool = False) -> list[Job]:
    """A `train` job that ran out of memory as two of half the size; none if it is not to be halved.

    Args:
        again: halves may be halved: where it is certain that memory was the cause.
    """
    runs = job["runs"]
    if (job.get("halved") and not again) or len(runs) < 2:
        return []
    middle = len(runs) // 2
    return [
        {
            **job,
            "runs": part,
            "pack_id": Pack(tuple(Run(**run) for run in part)).pack_id,
            "seconds": job["seconds"] / 2,
            "halved": True,
        }
        for part in (runs[:middle], runs[middle:])
    ]


class _Process:
    """One worker process and the thread that passes its answers on."""

    def __init__(self, index: int, pool: Pool) -> None:
        self.index = index
        self.job: Job | None = None
        reading, writing = os.pipe()
        log = (pool.logs / f"worker-{index}.log").open("ab")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "study.training.worker", str(writing)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            pass_fds=(writing,),
            start_new_session=True,
            text=True,
            env=pool.environment(index),
        )
        log.close()
        os.close(writing)
        threading.Thread(target=self._pass_on, args=(reading, pool.answers), daemon=True).start()

    def _pass_on(self, reading: int, answers: queue.Queue[tuple[_Process, Answer]]) -> None:
        with os.fdopen(reading) as lines:
            for line in lines:
                answers.put((self, json.loads(line)))
        code = self.process.wait()
        answers.put((self, {"event": "died", "code": code}))

    def give(self, job: Job) -> None:
        self.job = job
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its death is on the way as an answer


class Pool:
    """Worker processes for as long as the `with` block lasts; they are killed when it ends.

    Args:
        workers: how many.
        logs: folder for what the workers print.
    """

    startup_s = 0.0  # workers are warm

    def __init__(self, settings: LauncherSettings, workers: int, logs: Path) -> None:
        self.settings, self.workers, self.logs = settings, workers, logs
        self.threads = threads_per_worker(workers)
        self.answers: queue.Queue[tuple[_Process, Answer]] = queue.Queue()
        self.processes: list[_Process] = []

    def environment(self, index: int) -> dict[str, str]:
        own = worker_environment(self.threads, self.settings.device, PACKAGE.parent)
        if self.settings.device != "cpu" and (devices := gpus()):
            own["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
        return os.environ | own

    def __enter__(self) -> Pool:
        self.logs.mkdir(parents=True, exist_ok=True)
        self.processes = [_Process(index, self) for index in range(self.workers)]
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is not None and issubclass(kind, KeyboardInterrupt):
                self._let_save()
        finally:
            for worker in self.processes:
                if worker.process.poll() is None:
                    os.killpg(worker.process.pid, signal.SIGKILL)
            for worker in self.processes:
                worker.process.wait()

    def _let_save(self) -> None:
        """Asks the workers to stop and waits until they have, or until a second interrupt."""
        for worker in self.processes:
            if worker.process.poll() is None:
                worker.process.terminate()
        deadline = time.monotonic() + GRACE_S
        while any(w.process.poll() is None for w in self.processes) and time.monotonic() < deadline:
            time.sleep(0.05)

    def do(self, jobs: list[Job]) -> Iterator[tuple[Job, Answer]]:
        """Does the jobs in their order as workers come free; yields their answers as they come.

        Every job gets exactly one answer: its worker's, with the event `done`, or `died` with the
        exit code, if DEATHS workers died over it or the kernel killed one for want of memory.
        """
        waiting = list(reversed(jobs))
        deaths: dict[int, int] = {}
        kills = out_of_memory_kills()
        open_jobs = len(jobs)
        for worker in self.processes:
            if waiting:
                worker.give(waiting.pop())
        while open_jobs:
            worker, answer = self.answers.get()
            job = worker.job
            if answer["event"] == "died":
                replacement = _Process(worker.index, self)
                self.processes[worker.index] = replacement
                worker, worker.job = replacement, None
                for_memory = answer["code"] == -signal.SIGKILL and out_of_memory_kills() > kills
                kills = out_of_memory_kills()
                if job is not None:
                    deaths[id(job)] = deaths.get(id(job), 0) + 1
                    if deaths[id(job)] < DEATHS and not for_memory:
                        worker.give(job)
                        continue
            if job is not None:
                open_jobs -= 1
                worker.job = None
                yield job, answer
            if worker.job is None and waiting:
                worker.give(waiting.pop())
