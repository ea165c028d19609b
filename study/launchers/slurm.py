"""The Slurm launcher: jobs become array tasks, submitted by submitit; their files tell how they ended.

    results/<name>/slurm/code-<digest>/study/     the code as it was at submission
    results/<name>/slurm/<batch>/batch.json       which job is which array task; written before sbatch
    results/<name>/slurm/<batch>/answers/<i>.json what task i answered
    results/<name>/slurm/<batch>/submitit/        submitit's scripts and logs

A batch is found again in the queue by its name, so a coordinator that was killed at any moment attaches
to what is running. submitit's own results are never read: they are pickles, and without accounting its
states are unknown for ever.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import io
import os
import secrets
import shlex
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from study.errors import UsageError, first_line, nearest
from study.launchers import squeue
from study.launchers.local import Answer, Job, worker_environment
from study.launchers.squeue import SlurmAway
from study.paths import PACKAGE
from study.planning.runs import digest
from study.settings import LauncherSettings
from study.storage.files import from_json, to_json, write_atomically

LOOK_S, ASK_S = 2.0, 10.0
"""Seconds between two looks for answers, and between two questions to squeue."""
GONE_AFTER = 2
"""So many squeues in a row must lack a task before it is given up: a requeue may hide it for a moment."""
STARTUP_S = 30.0
"""What a task takes before it trains: Python and torch, the model, its first batch."""
RETRY_S = 600.0
"""How long a submission is tried again while Slurm's controller is away."""


class Detached(Exception):
    """Everything is submitted and nobody waits for it."""


def check(settings: LauncherSettings) -> None:
    """Refuses what Slurm would refuse later.

    Raises:
        UsageError: if there is no Slurm here, or no such partition.
    """
    if shutil.which("sbatch") is None:
        raise UsageError(
            "launcher=slurm: there is no sbatch on this machine; run it on a login node, or launcher=local"
        )
    try:
        known = squeue.partitions()
    except SlurmAway:
        return  # submission waits for it
    for name in filter(None, (settings.partition or "").split(",")):
        if name not in known:
            raise UsageError(f"launcher.partition={name}: no such partition; {nearest(name, known)}")


def key_of(job: Job) -> str:
    """The same for the same work, whoever submits it."""
    return digest([job["kind"], job.get("pack_id"), job.get("variant"), job.get("pack_size")])


class Queue:
    """Does jobs as `study.launchers.local.Pool` does, but on a Slurm cluster.

    Args:
        folder: the study's results.
        detach: submit and raise `Detached` instead of waiting.
        executor: makes the submitit executor for a batch's folder and name.
    """

    startup_s = STARTUP_S

    def __init__(
        self,
        settings: LauncherSettings,
        folder: Path,
        detach: bool = False,
        executor: Callable[[LauncherSettings, Path, str], Any] | None = None,
    ) -> None:
        self.settings, self.detach = settings, detach
        self.workers, self.threads = settings.array_parallelism, settings.cpus_per_task
        self.folder = folder.resolve() / "slurm"
        self.executor = executor or _executor

    def __enter__(self) -> Queue:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, KeyboardInterrupt):
            print(
                f"the tasks stay in the queue; to end them: scancel {' '.join(self._job_ids()) or '(none)'}"
            )

    def do(self, jobs: list[Job]) -> Iterator[tuple[Job, Answer]]:
        """Submits the jobs that are not in the queue yet; yields their answers as they come.

        Every job gets exactly one answer: its task's, with the event `done`; `died` if it ran out of
        memory; or `lost` with the cause, if its task ended without one.

        Raises:
            UsageError: if Slurm refuses the jobs.
            Detached: if nobody is to wait.
        """
        wanted = {key_of(job): job for job in jobs}
        places = {key: place for key, place in self._attached().items() if key in wanted}
        answered = [key for key in wanted if key in places and self._answer(places[key]) is not None]
        missing = [job for key, job in wanted.items() if key not in places]
        for start in range(0, len(missing), self.settings.max_array):
            places |= self._submit(missing[start : start + self.settings.max_array])
        if self.detach and len(answered) < len(wanted):
            raise Detached
        yield from self._await(wanted, places)

    # Batches ------------------------------------------------------------------------------

    @staticmethod
    def batches_in(study: Path) -> dict[str, list[str]]:
        """Of every batch that was submitted for a study, the keys of its jobs in their order."""
        paths = (study / "slurm").glob("*/batch.json")
        return {path.parent.name: from_json(path.read_bytes()) for path in paths}

    def _attached(self) -> dict[str, tuple[str, int]]:
        """Where the jobs are that an earlier call submitted: those in the queue, and answered probes."""
        batches = self.batches_in(self.folder.parent)
        names = {batch_name(batch): batch for batch in batches}
        live: set[tuple[str, int]] = set()
        while batches:
            try:
                live = {(names[task.name], task.index) for task in squeue.tasks(list(names)) if task.live}
                break
            except SlurmAway as error:
                print(f"waiting for Slurm: {error}", flush=True)
                time.sleep(ASK_S)
        places = {}
        for batch, keys in batches.items():
            for index, key in enumerate(keys):
                answer = self._answer((batch, index))
                if (batch, index) in live or (answer and "profile" in answer):
                    places[key] = (batch, index)
        return places

    def _answer(self, place: tuple[str, int]) -> Answer | None:
        path = self.folder / place[0] / "answers" / f"{place[1]}.json"
        return from_json(path.read_bytes()) if path.exists() else None

    def _submit(self, jobs: list[Job]) -> dict[str, tuple[str, int]]:
        """One batch as one array; while Slurm's controller is away, tried again."""
        batch = secrets.token_hex(4)
        folder, keys = self.folder / batch, [key_of(job) for job in jobs]
        (folder / "answers").mkdir(parents=True, mode=0o700)
        write_atomically(folder / "batch.json", to_json(keys))
        answers = [str(folder / "answers" / f"{index}.json") for index in range(len(jobs))]
        deadline, wait_s = time.monotonic() + RETRY_S, 5.0
        while True:
            try:
                executor = self.executor(self.settings, self.folder, batch)
                with contextlib.redirect_stderr(io.StringIO()):  # what sbatch says is in the error
                    submitted = executor.map_array(_on_its_node, answers, jobs)
                break
            except Exception as error:
                text = f"{error} {getattr(error, 'stderr', '')}"
                if not any(t in text for t in squeue.TRANSIENT) or time.monotonic() > deadline:
                    shutil.rmtree(folder, ignore_errors=True)
                    raise UsageError(f"launcher=slurm: {_refusal(text)}") from None
                print(f"Slurm does not answer; trying again in {wait_s:.0f} s", flush=True)
                time.sleep(wait_s)
                wait_s = min(60.0, 2 * wait_s)
                subprocess.run(["scancel", f"--name={batch_name(batch)}", "--me"], capture_output=True)
        array = str(submitted[0].job_id).split("_")[0]
        print(f"submitted {len(jobs)} tasks as Slurm job {array}", flush=True)
        return {key: (batch, index) for index, key in enumerate(keys)}

    def _job_ids(self) -> list[str]:
        try:
            tasks = squeue.tasks([batch_name(batch) for batch in self.batches_in(self.folder.parent)])
        except SlurmAway:
            return []
        return sorted({task.job_id.split("_")[0] for task in tasks if task.live})

    # Waiting ------------------------------------------------------------------------------

    def _await(
        self, wanted: dict[str, Job], places: dict[str, tuple[str, int]]
    ) -> Iterator[tuple[Job, Answer]]:
        batches = sorted({batch for batch, _ in places.values()})
        keys = {place: key for key, place in places.items()}
        seen: dict[tuple[str, int], squeue.Task] = {}
        absent: Counter[tuple[str, int]] = Counter()
        told: set[str] = set()
        asked_at = time.monotonic()
        while keys:
            for place in self._answered(batches):
                if place in keys:
                    answer = self._answer(place)
                    assert answer is not None
                    yield wanted[keys.pop(place)], {"event": "done", **answer}
            if not keys or time.monotonic() - asked_at < ASK_S:
                time.sleep(LOOK_S if keys else 0)
                continue
            asked_at = time.monotonic()
            names = {batch_name(batch): batch for batch in batches}
            try:
                tasks = {(names[task.name], task.index): task for task in squeue.tasks(list(names))}
            except SlurmAway as error:
                self._tell(told, f"waiting for Slurm: {error}")
                continue
            seen |= tasks
            held = Counter(task.held for place, task in tasks.items() if place in keys and task.held)
            for reason, count in held.items():
                which = next(task.job_id for task in tasks.values() if task.held == reason)
                self._tell(told, f"held: {reason} ({which}{f' and {count - 1} more' if count > 1 else ''})")
            for place in list(keys):
                absent[place] = 0 if place in tasks and tasks[place].live else absent[place] + 1
                if absent[place] >= GONE_AFTER and self._answer(place) is None:
                    yield wanted[keys.pop(place)], self._gone(place, seen.get(place))

    def _answered(self, batches: list[str]) -> Iterator[tuple[str, int]]:
        for batch in batches:
            for entry in os.scandir(self.folder / batch / "answers"):
                if entry.name.endswith(".json"):
                    yield batch, int(entry.name.removesuffix(".json"))

    def _gone(self, place: tuple[str, int], task: squeue.Task | None) -> Answer:
        cause = squeue.cause(task, task.job_id) if task else "no longer known to Slurm"
        where = f"task {task.job_id if task else place[1]}"
        if "OUT_OF_ME" in cause:
            return {"event": "died", "code": -9, "cause": f"{where}: {cause}"}
        return {"event": "lost", "cause": f"{where}: {cause}; log: {self.folder / place[0] / 'submitit'}"}

    @staticmethod
    def _tell(told: set[str], message: str) -> None:
        if message not in told:
            told.add(message)
            print(message, flush=True)


def _on_its_node(answer_file: str, job: Job) -> None:
    """What submitit calls in an array task. It is known by name alone: there is no torch here."""
    importlib.import_module("study.training.node").run(answer_file, job)


def batch_name(batch: str) -> str:
    """The name of a batch's job in Slurm."""
    return f"ether-study-{batch}"


def _refusal(text: str) -> str:
    """What sbatch said, without what submitit and Python add."""
    lines = [line.strip() for line in text.splitlines() if "sbatch: error:" in line]
    return lines[-1].removeprefix("sbatch: error: ") if lines else first_line(Exception(text))


def snapshot(folder: Path) -> Path:
    """A copy of the package, so that editing the checkout does not change queued jobs."""
    package = PACKAGE
    files = sorted(p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    content = hashlib.sha256()
    for path in files:
        content.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes())
    copy = folder / f"code-{content.hexdigest()[:12]}"
    if not copy.exists():
        partial = folder / f".{copy.name}.{os.getpid()}.tmp"
        shutil.copytree(package, partial / "study", ignore=shutil.ignore_patterns("__pycache__"))
        partial.rename(copy)
    return copy


def _executor(settings: LauncherSettings, folder: Path, batch: str) -> Any:
    """submitit's, told all that the settings say; requeueing is ours (`study.training.node`)."""
    import submitit

    environment = worker_environment(settings.cpus_per_task, settings.device, snapshot(folder))
    environment |= {"PYTHONSAFEPATH": "1", "STUDY_TIMEOUT_S": str(60 * settings.timeout_min)}
    own = {
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
        "slurm_signal_delay_s": 1,  # tasks know their time; Slurm may send it a minute early
    }
    executor = submitit.AutoExecutor(
        folder=folder / batch / "submitit", cluster="slurm", slurm_max_num_timeout=10**6
    )
    executor.update_parameters(**{key: value for key, value in own.items() if value is not None})
    return executor
