"""The contract of a launcher: what coordination takes for granted of every one, as checks.

`run(settings, folder)` tries a launcher out with small real jobs: they load the shipped digits and their
model. Each check of `CHECKS` raises `Broken`, which says what to fix, or returns a note (often empty) on what
it does not demand.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from study import config, launchers
from study.errors import UsageError
from study.launchers import Detached, Launcher, Sighting
from study.methods import external
from study.planning.jobs import Answer, Died, Fetched, FetchJob, Job, Lost, ProbeJob, Refused, job_key
from study.planning.runs import Run, plan_runs
from study.settings import LauncherSettings
from study.testing.checks import Result, need, run_checks

LEAVE_S = 30.0
"""So long may a session take to let go of what it holds."""


@dataclass(frozen=True)
class Trial:
    """A launcher under test, and a folder that stands for a study's."""

    launcher: Launcher
    folder: Path

    def answers(self, jobs: list[Job], folder: str) -> list[tuple[Job, Answer]]:
        """All the answers to the jobs, in a session of its own."""
        with self.launcher.open(self.folder / folder, len(jobs)) as session:
            return list(session.do(jobs))


def _run(**task: Any) -> Run:
    run = plan_runs(config.load("lr_grid", ["method=ether", "lr=1e-3", "seeds=1"]))[0]
    return replace(run, task=replace(run.task, **task))


def ready(trial: Trial) -> str:
    """It accepts its settings and can be reached."""
    try:
        trial.launcher.validate()
        trial.launcher.check_reachable()
    except UsageError as error:
        need(False, f"it refuses its own settings ({error})", "give settings that fit, or mend validate")
    return ""


def capacity(trial: Trial) -> str:
    """There is room for a job at least, and for more jobs no less of it."""
    one, many = (trial.launcher.capacity(jobs) for jobs in (1, 64))
    for room in (one, many):
        need(room.workers >= 1, f"{room.workers} workers", "capacity must have one worker or more")
        need(room.threads >= 1, f"{room.threads} threads", "a job has one thread or more")
        need(room.startup_s >= 0, f"start-up takes {room.startup_s} s", "seconds are zero or more")
    fix = "capacity(jobs) is what there is for so many jobs at most"
    need(many.workers >= one.workers, "there are fewer workers for more jobs", fix)
    return ""


def cache_key(trial: Trial) -> str:
    """What decides how fast jobs are is the same each time, and can be written as JSON."""
    first, again = (trial.launcher.cache_key(threads=3) for _ in range(2))
    need(first == again, "cache_key gives another answer each time", "leave out what is of the moment")
    need(json.loads(json.dumps(first)) == first, "cache_key is not JSON", "give text, numbers and lists")
    other = trial.launcher.cache_key(threads=4)
    need(other != first, "cache_key does not depend on threads", "profiles are of so many threads")
    return ""


def answers(trial: Trial) -> str:
    """Every job gets exactly one answer, its own; what a worker refuses is refused with its reason."""
    jobs: list[Job] = [
        FetchJob(_run()), FetchJob(_run(model="./no_such_model")), FetchJob(_run(data="digits-upright")),
    ]  # fmt: skip
    pairs = trial.answers(jobs, "answers")
    given = [id(job) for job, _ in pairs]
    fix = "yield the very job that was given, once, with the answer of its worker"
    need(sorted(given) == sorted(map(id, jobs)), f"{len(jobs)} jobs got {len(pairs)} answers", fix)
    by_job = {id(job): answer for job, answer in pairs}
    kinds = [type(by_job[id(job)]) for job in jobs]
    need(kinds == [Fetched, Refused, Fetched], f"the answers are {[k.__name__ for k in kinds]}", fix)
    refused = by_job[id(jobs[1])]
    names_the_model = isinstance(refused, Refused) and "no_such_model" in refused.reason
    need(names_the_model, f"a refusal comes back as {refused}", "hand the worker's answer on as it is")
    return ""


def deaths(trial: Trial) -> str:
    """A job whose worker dies is answered all the same, with its cause, and the others go on."""
    with deadly_method(trial.folder) as method:
        deadly = ProbeJob("deadly", replace(_run(), method=method), num_runs=1, pack_size=1, memory_gb=None)
        jobs: list[Job] = [deadly, FetchJob(_run())]
        pairs = trial.answers(jobs, "deaths")
    by_key = {job_key(job): answer for job, answer in pairs}
    fix = "give Died (its exit code) or Lost (what is known of it) for a worker that ends without an answer"
    need(len(pairs) == 2, f"2 jobs got {len(pairs)} answers", fix)
    dead = next(answer for job, answer in pairs if job is jobs[0])
    need(isinstance(dead, Died | Lost), f"a worker that died is reported as {dead}", fix)
    cause = dead.words if isinstance(dead, Died) else getattr(dead, "cause", "")
    need(bool(cause), "nothing says why it died", fix)
    need(Fetched() in by_key.values(), "the job beside it was not done", "a death must not end the session")
    return ""


@contextlib.contextmanager
def deadly_method(folder: Path) -> Iterator[str]:
    """A method whose file ends the worker that imports it, with exit code 7; known inside by this name."""
    path = folder / "deadly.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("import os, sys\n\nprint('told to die', file=sys.stderr, flush=True)\nos._exit(7)\n")
    before = os.environ.get(external.VARIABLE)
    external.offer(path.stem, path)
    try:
        yield path.stem
    finally:
        del os.environ[external.VARIABLE]
        os.environ.update({external.VARIABLE: before} if before is not None else {})


def again(trial: Trial) -> str:
    """A session takes jobs again after it has done some: packs that ran out of memory come back in halves."""
    with trial.launcher.open(trial.folder / "again", 2) as session:
        first = list(session.do([FetchJob(_run())]))
        second = list(session.do([FetchJob(_run(data="digits-upright"))]))
    counts = [len(first), len(second)]
    need(counts == [1, 1], f"twice one job got {counts} answers", "do must not use anything up")
    return ""


def leaving(trial: Trial) -> str:
    """A session can be left before its jobs are done."""
    jobs: list[Job] = [FetchJob(_run()), FetchJob(_run(data="digits-upright"))]
    with trial.launcher.open(trial.folder / "leaving", 1) as session:
        next(iter(session.do(jobs)))
        began = time.monotonic()
    took_s = time.monotonic() - began
    need(took_s < LEAVE_S, f"it took {took_s:.0f} s to leave", "end workers, or let them be, and return")
    return ""


def detaching(trial: Trial) -> str:
    """What can detach does: it submits and raises Detached, and a later session gets the answers."""
    if not trial.launcher.can_detach:
        return "jobs end with the command that submitted them"
    jobs: list[Job] = [FetchJob(_run())]
    folder, fix = trial.folder / "detaching", "with detach=True, do must submit and raise Detached"
    with trial.launcher.open(folder, 1, detach=True) as session:
        try:
            list(session.do(jobs))
            detached = False
        except Detached:
            detached = True
    need(detached, "it waited", fix)
    sighting = trial.launcher.watch(folder, {job_key(job) for job in jobs})
    need(isinstance(sighting, Sighting), f"watch gives {sighting!r}", "give a Sighting")
    pairs = trial.answers(jobs, "detaching")
    need([answer for _, answer in pairs] == [Fetched()], "the answers are lost", "attach to what is running")
    return ""


def watching(trial: Trial) -> str:
    """Nothing is known of a study that has no jobs."""
    sighting = trial.launcher.watch(trial.folder / "nothing", set())
    need(not sighting.jobs, f"watch sees {sighting.jobs}", "look for the jobs of this folder alone")
    return ""


CHECKS: dict[str, Callable[[Trial], str]] = {
    "ready": ready, "capacity": capacity, "cache_key": cache_key, "answers": answers, "deaths": deaths,
    "again": again, "leaving": leaving, "detaching": detaching, "watching": watching,
}  # fmt: skip


def run(settings: LauncherSettings, folder: Path) -> list[Result]:
    """Takes the launcher of these settings through every check, in folders under `folder`.

    Raises:
        UsageError: if there is no such launcher.
    """
    trial = Trial(launchers.load(settings), folder)
    return run_checks(CHECKS, trial, unless="not tried: it is not ready")
