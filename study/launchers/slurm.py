"""A Slurm cluster: every job is an array task, submitted by submitit; files tell how they ended.

What Slurm says of tasks is in `cluster/squeue`, which job is which task in `cluster/batches`, and how they
are submitted in `cluster/submission`.
"""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from study.errors import UsageError, nearest
from study.launchers import (
    Capacity,
    Detached,
    JobState,
    Launcher,
    Session,
    Sighting,
    refuse_settings_of_others,
)
from study.launchers.cluster import squeue
from study.launchers.cluster.backlog import Backlog
from study.launchers.cluster.batches import ArrayTask, Batches, batch_name, keys_by_batch
from study.launchers.cluster.environment import unused
from study.launchers.cluster.squeue import SlurmAway
from study.launchers.cluster.submission import MakeExecutor, submitit_executor
from study.launchers.processes import folders
from study.planning.jobs import Answer, Died, Job, Lost, Probed, job_key
from study.settings import LauncherSettings

LOOK_S, ASK_S = 2.0, 10.0
"""Seconds between two looks for answers, and between two questions to squeue."""
GONE_AFTER = 2
"""So many squeues in a row must lack a task before it is given up: a requeue may hide it for a moment."""
STARTUP_S = 30.0
"""What a task takes before it trains: Python and torch, the model, its first batch."""


class Slurm(Launcher):
    description = "the cluster"
    can_detach = True

    def validate(self) -> None:
        refuse_settings_of_others(
            self.settings, ["workers"], "{key} is for launcher=local; use launcher.array_parallelism"
        )

    def check_reachable(self) -> None:
        if shutil.which("sbatch") is None:
            raise UsageError(
                "launcher=slurm: there is no sbatch on this machine; run it on a login node, "
                "or launcher=local"
            )
        try:
            partitions = squeue.partitions()
        except SlurmAway:
            return  # submission waits for it
        for name in filter(None, (self.settings.partition or "").split(",")):
            if name not in partitions:
                hint = nearest(name, partitions)
                raise UsageError(f"launcher.partition={name}: no such partition; {hint}")

    def capacity(self, jobs: int) -> Capacity:
        return Capacity(self.settings.array_parallelism, self.settings.cpus_per_task, STARTUP_S)

    def cache_key(self, threads: int) -> list[str | int | list[str] | None]:
        s = self.settings
        return [s.name, s.partition, s.constraint, s.gpus_per_node, threads, s.device]

    def open(self, folder: Path, jobs: int, detach: bool = False) -> Queue:
        return Queue(self.settings, folder, detach)

    def watch(self, folder: Path, unfinished: Collection[str]) -> Sighting:
        batches = keys_by_batch(folder)
        if not batches:
            return Sighting()
        try:
            listed = squeue.tasks([batch_name(batch) for batch in batches])
        except SlurmAway as error:
            return Sighting(remarks=(f"Slurm: {error}",))
        keys = {batch_name(batch): keys for batch, keys in batches.items()}
        tasks_by_key = [(keys[task.name][task.index], task) for task in listed]
        live = {key: task for key, task in tasks_by_key if task.live}
        gone = {key: task for key, task in tasks_by_key if key in set(unfinished) - live.keys()}
        remarks = [f"held: {task.job_id} {task.held}" for task in live.values() if task.held]
        remarks += [f"lost: {task.job_id} {squeue.cause(task, task.job_id)}" for task in gone.values()]
        if live:
            states = Counter(task.state.lower() for task in live.values())
            counts = ", ".join(f"{count} {state}" for state, count in states.items())
            remarks.insert(0, f"Slurm tasks: {counts}")
        jobs = {
            key: JobState(task.state == "RUNNING", f"{task.job_id} on {task.node}, {task.left} left")
            for key, task in live.items()
        }
        return Sighting(jobs, tuple(remarks))


class Queue(Session):
    """Array tasks of one study, waited for.

    Args:
        folder: the study's results.
        detach: submit and raise `Detached` instead of waiting.
        make_executor: submitit's executor for a batch.
    """

    def __init__(
        self,
        settings: LauncherSettings,
        folder: Path,
        detach: bool = False,
        make_executor: MakeExecutor = submitit_executor,
    ) -> None:
        self.settings, self.detach, self.make_executor = settings, detach, make_executor
        self.study = folder.resolve()
        self.batches = Batches(self.study / "slurm")

    def __enter__(self) -> Queue:
        self.batches.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for line in (unused(os.environ, self.settings), folders.words(folders.elsewhere())):
            if line:
                print(line, flush=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            print(
                f"the tasks stay in the queue; to end them: scancel {' '.join(self._job_ids()) or '(none)'}"
            )

    def do(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Answer]]:
        """See `Session.do`: submits the jobs that are not in the queue yet. A task that ran out of memory
        is `Died`, one that ended without an answer `Lost`."""
        jobs_by_key = {job_key(job): job for job in jobs}
        job_tasks = {key: job_task for key, job_task in self._attached().items() if key in jobs_by_key}
        answered = [key for key, job_task in job_tasks.items() if self.batches.answer(job_task) is not None]
        missing = [job for key, job in jobs_by_key.items() if key not in job_tasks]
        backlog = Backlog(self.batches, missing, self.settings, self.make_executor)
        job_tasks |= backlog.submit(watched=len(job_tasks) - len(answered))
        if self.detach and len(answered) < len(jobs_by_key):
            backlog.told_of_detaching()
            raise Detached
        yield from self._await(jobs_by_key, job_tasks, backlog)

    def _attached(self) -> dict[str, ArrayTask]:
        """Where the jobs are that an earlier call submitted: those in the queue, and answered probes."""
        batches = keys_by_batch(self.study)
        names = {batch_name(batch): batch for batch in batches}
        live: set[ArrayTask] = set()
        while batches:
            try:
                listed = squeue.tasks(list(names))
                live = {ArrayTask(names[task.name], task.index) for task in listed if task.live}
                break
            except SlurmAway as error:
                print(f"waiting for Slurm: {error}", flush=True)
                time.sleep(ASK_S)
        job_tasks = {}
        for batch, keys in batches.items():
            for index, key in enumerate(keys):
                job_task = ArrayTask(batch, index)
                if job_task in live or isinstance(self.batches.answer(job_task), Probed):
                    job_tasks[key] = job_task
        return job_tasks

    def _job_ids(self) -> list[str]:
        try:
            tasks = squeue.tasks([batch_name(batch) for batch in keys_by_batch(self.study)])
        except SlurmAway:
            return []
        return sorted({task.job_id.split("_")[0] for task in tasks if task.live})

    def _await(
        self, jobs_by_key: Mapping[str, Job], job_tasks: Mapping[str, ArrayTask], backlog: Backlog
    ) -> Iterator[tuple[Job, Answer]]:
        unanswered = {job_task: key for key, job_task in job_tasks.items()}
        last_seen: dict[ArrayTask, squeue.Task] = {}
        absent: Counter[ArrayTask] = Counter()
        told: set[str] = set()
        asked_at = time.monotonic()
        ended = 0
        while unanswered or backlog.jobs:
            for job_task in self.batches.answered(sorted({job_task.batch for job_task in unanswered})):
                if job_task in unanswered:
                    answer = self.batches.answer(job_task)
                    assert answer is not None
                    ended += 1
                    yield jobs_by_key[unanswered.pop(job_task)], answer
            if time.monotonic() - asked_at < ASK_S:
                time.sleep(LOOK_S if unanswered or backlog.jobs else 0)
                continue
            asked_at = time.monotonic()
            names = {batch_name(job_task.batch): job_task.batch for job_task in unanswered}
            try:
                tasks = {ArrayTask(names[task.name], task.index): task for task in squeue.tasks(list(names))}
            except SlurmAway as error:
                self._tell(told, f"waiting for Slurm: {error}")
                continue
            last_seen |= tasks
            self._tell_of_held([task for job_task, task in tasks.items() if job_task in unanswered], told)
            for job_task in list(unanswered):
                absent[job_task] = 0 if job_task in tasks and tasks[job_task].live else absent[job_task] + 1
                if absent[job_task] >= GONE_AFTER and self.batches.answer(job_task) is None:
                    ended += 1
                    yield jobs_by_key[unanswered.pop(job_task)], self._gone(job_task, last_seen.get(job_task))
            if backlog.due(ended):
                new = backlog.submit(len(unanswered), ended)
                unanswered |= {job_task: key for key, job_task in new.items()}
                ended = 0

    def _gone(self, job_task: ArrayTask, task: squeue.Task | None) -> Died | Lost:
        """What became of a task that is no longer in the queue and has not answered."""
        cause = squeue.cause(task, task.job_id) if task else "no longer known to Slurm"
        where = f"task {task.job_id if task else job_task.index}"
        if "OUT_OF_ME" in cause:
            return Died(-9, f"{where}: {cause}")
        return Lost(f"{where}: {cause}; log: {self.batches.folder / job_task.batch / 'submitit'}")

    def _tell_of_held(self, tasks: Sequence[squeue.Task], told: set[str]) -> None:
        held = Counter(task.held for task in tasks if task.held)
        for reason, count in held.items():
            first = next(task.job_id for task in tasks if task.held == reason)
            others = f" and {count - 1} more" if count > 1 else ""
            self._tell(told, f"held: {reason} ({first}{others})")

    @staticmethod
    def _tell(told: set[str], message: str) -> None:
        if message not in told:
            told.add(message)
            print(message, flush=True)
