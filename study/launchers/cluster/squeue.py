"""What Slurm says of our tasks: `squeue`, which every cluster has; `sacct` where there is accounting."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from dataclasses import dataclass

from study.launchers.cluster.environment import for_slurm

LIVE = {
    "PENDING", "RUNNING", "CONFIGURING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT",
    "RESIZING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD",
}  # fmt: skip
"""States from which a task still comes to an end by itself."""

ORDINARY = {"", "None", "Priority", "Resources", "BeginTime", "JobArrayTaskLimit", "Prolog", "Cleaning"}
"""Reasons to wait that pass by themselves; any other is reported."""

TRANSIENT = (
    "Unable to contact slurm controller", "timed out", "Connection refused", "Zero Bytes", "try again",
    "Transport endpoint", "Unexpected message received", "Communication connection failure",
)  # fmt: skip
"""What Slurm says when its controller is away for a while."""


class SlurmAway(Exception):
    """Slurm's controller does not answer; nothing is known of the tasks until it does."""


@dataclass(frozen=True)
class Task:
    """One array task as squeue shows it. `left`: its time left, as [days-]hh:mm:ss."""

    job_id: str
    name: str
    index: int
    state: str
    reason: str
    node: str
    left: str

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def held(self) -> str:
        """Why it may never start without someone's help, empty if it will."""
        waiting = self.state in ("PENDING", "REQUEUE_HOLD", "SPECIAL_EXIT")
        return self.reason if waiting and self.reason not in ORDINARY else ""


def _ask(*command: str) -> str:
    """What a Slurm command prints.

    Raises:
        SlurmAway: if it fails, or takes longer than 30 s.
    """
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, env=for_slurm())
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SlurmAway(f"{command[0]}: {error}") from None
    if done.returncode:
        raise SlurmAway(f"{command[0]}: {(done.stderr.strip().splitlines() or ['no answer'])[-1]}")
    return done.stdout


def tasks(names: list[str]) -> list[Task]:
    """Every task, living or not yet forgotten, of our jobs with these names.

    Raises:
        SlurmAway: if Slurm does not answer.
    """
    if not names:
        return []
    listed = _ask(
        "squeue", "--me", "--states=all", "--array", "--noheader",
        f"--name={','.join(names)}", "--format=%i|%j|%K|%T|%r|%N|%L",
    )  # fmt: skip
    return [parse(line) for line in listed.splitlines() if line.strip()]


def has_jobs() -> bool:
    """Whether the user has any job that still comes to an end, ours or not.

    Raises:
        SlurmAway: if Slurm does not answer.
    """
    return bool(_ask("squeue", "--me", "--noheader", "--format=%i").strip())


def parse(line: str) -> Task:
    """A line of squeue's `%i|%j|%K|%T|%r|%N|%L`; a job that is no array has one task, 0."""
    job_id, name, index, state, reason, node, left = (field.strip() for field in line.split("|"))
    return Task(job_id, name, int(index) if index.isdigit() else 0, state, reason, node, left)


def cause(task: Task | None, job_id: str) -> str:
    """Why a task that is gone has left no result, in words, as far as Slurm can tell."""
    state, code = task.state if task else "", ""
    try:
        if shutil.which("sacct"):
            told = _ask("sacct", "-nP", "-j", job_id, "-o", "State,ExitCode").splitlines()
            if told:  # the job's line, then those of its steps, which know of signals
                state = told[0].split("|")[0]
                codes = [line.split("|")[1] for line in told]
                code = next((c for c in codes if not c.endswith(":0")), codes[0])
    except SlurmAway:
        pass  # no accounting here
    if not code:
        try:
            told_by_controller = _ask("scontrol", "show", "job", "-o", job_id)
            code = (re.findall(r"\bExitCode=(\d+:\d+)", told_by_controller) or [""])[0]
        except SlurmAway:
            pass  # forgotten by now
    return f"{state or 'no longer known to Slurm'}{_exit(code)}"


def _exit(code: str) -> str:
    """An exit code as Slurm writes it, `status:signal`, in words."""
    if not re.fullmatch(r"\d+:\d+", code) or code == "0:0":
        return ""
    status, number = (int(part) for part in code.split(":"))
    number = number or (status - 128 if status > 128 else 0)
    try:
        return f", killed by {signal.Signals(number).name}" if number else f", exit code {status}"
    except ValueError:
        return f", exit code {status}"


def partitions() -> list[str]:
    """The cluster's partitions.

    Raises:
        SlurmAway: if Slurm does not answer.
    """
    return sorted({name.strip().rstrip("*") for name in _ask("sinfo", "-h", "-o", "%P").split()})
