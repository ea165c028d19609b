"""Jobs that are yet to be submitted: as many as Slurm takes, and the rest as places free up."""

from __future__ import annotations

import time
from collections.abc import Sequence

from study.errors import UsageError
from study.launchers.cluster import squeue
from study.launchers.cluster.batches import ArrayTask, Batches
from study.launchers.cluster.squeue import SlurmAway
from study.launchers.cluster.submission import MakeExecutor, TooMany, submit
from study.planning.jobs import Job
from study.settings import LauncherSettings

AGAIN_S = 60.0
"""Seconds after which more is submitted although none of our tasks has ended: other jobs may have."""


class Backlog:
    """The jobs of a study that have no task yet.

    Attributes:
        jobs: those that are left.
    """

    def __init__(
        self, batches: Batches, jobs: Sequence[Job], settings: LauncherSettings, make_executor: MakeExecutor
    ) -> None:
        self.batches, self.settings, self.make_executor = batches, settings, make_executor
        self.jobs = list(jobs)
        self._at_most = settings.max_array
        self._taken = 0
        self._limit = ""
        self._refused_at = 0.0

    def due(self, freed: int) -> bool:
        """Whether it is time to submit more, after so many of our tasks ended since the last time."""
        return bool(self.jobs) and (freed > 0 or time.monotonic() - self._refused_at >= AGAIN_S)

    def submit(self, watched: int, freed: int | None = None) -> dict[str, ArrayTask]:
        """Submits what Slurm takes; returns the new tasks by their jobs' keys.

        An array that is too large is tried again in halves. If Slurm takes not even one, the rest waits.

        Args:
            watched: how many tasks of ours are in the queue.
            freed: how many of them ended since Slurm refused more; None at the first time.

        Raises:
            UsageError: if Slurm refuses the jobs for what they are, or no place would ever be free.
        """
        tasks: dict[str, ArrayTask] = {}
        size = len(self.jobs) if freed is None else max(1, freed)
        while self.jobs:
            part = self.jobs[: min(size, self._at_most)]
            try:
                array, new = submit(self.batches, part, self.settings, self.make_executor)
            except (TooMany, UsageError) as refusal:
                if isinstance(refusal, UsageError) and not self._taken:
                    raise  # else the same was taken before, so it is their number, in a site's own words
                limit = str(refusal).removeprefix("launcher=slurm: ")
                if "Invalid job array" in limit:
                    self._at_most = max(1, len(part) // 2)  # for good: it is a limit of each array
                if len(part) > 1:
                    size = len(part) // 2
                    continue
                self._wait(limit, watched + len(tasks))
                break
            tasks |= new
            del self.jobs[: len(part)]
            self._taken += len(part)
            if not self._limit:
                print(f"submitted {len(part)} tasks as Slurm job {array}", flush=True)
        return tasks

    def _wait(self, limit: str, queued: int) -> None:
        """Takes note that no more are taken now; says so the first time.

        Raises:
            UsageError: if there is nothing to wait for.
        """
        if not queued and not _may_pass(limit):
            raise UsageError(
                f"launcher=slurm: Slurm takes none of the tasks ({limit}), and you have no job in its queue; "
                "ask for another launcher.qos, launcher.account or launcher.partition"
            )
        if not self._limit:
            print(
                f"Slurm takes no more tasks now ({limit}): {len(self.jobs)} of "
                f"{len(self.jobs) + queued} are submitted as places free up",
                flush=True,
            )
        self._limit, self._refused_at = limit, time.monotonic()

    def told_of_detaching(self) -> None:
        """Says what a command that returns now leaves to the next one."""
        if self.jobs:
            print(f"{len(self.jobs)} tasks are not submitted yet: the same command submits them", flush=True)


def _may_pass(limit: str) -> bool:
    """Whether a limit that stops even our first task lets it through later: others have reached it."""
    if "Grp" in limit or "temporarily" in limit or "queue full" in limit:
        return True
    try:
        return squeue.has_jobs()
    except SlurmAway:
        return True
