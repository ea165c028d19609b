"""A study from settings to report: plans it, has what is missing done, collects.

One coordinator works on a folder at a time. It does not import torch; workers do.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study import launchers
from study.cli.progress import Progress
from study.config.checks import check_sources
from study.coordination import profiles
from study.coordination.folder import tidy_folder
from study.coordination.plan_file import read_plan, write_plan
from study.coordination.prefetch import prefetch, stay_offline_if_prefetched
from study.launchers import Capacity, Detached, Session
from study.planning.jobs import Answer, CannotStore, Died, Job, Lost, Trained, TrainJob
from study.planning.packs import Pack, best_pack_sizes, plan_packs
from study.planning.profile import Profile
from study.planning.runs import Run, group_by_variant
from study.planning.text import format_packs
from study.settings import SweepSettings
from study.storage import adapters, records, tables
from study.storage.files import CannotWrite
from study.storage.lock import locked
from study.storage.optuna_index import write_study
from study.storage.provenance import provenance
from study.storage.rows import Circumstances, Identity, Outcome, RunRecord

if TYPE_CHECKING:
    import pandas as pd


def run_study(
    settings: SweepSettings,
    runs: list[Run],
    draw: Callable[[Path], Path],
    prepare: Callable[[Path], None] = lambda folder: None,
) -> int:
    """Does what is missing of the runs and draws the report; returns the command's exit code.

    Args:
        draw: draws the report of the study in a folder; returns its path.
        prepare: called with the study's folder, locked and in order, before anything runs.

    Raises:
        UsageError: before any training, if something about the command or the folder is wrong.
        CannotWrite: if the disk is full; nothing finished is lost.
        KeyboardInterrupt: after a signal, with what is finished collected.
    """
    folder = Path(settings.results) / settings.name
    began = time.monotonic()
    check_sources(settings)
    launchers.load(settings.launcher).check_reachable()
    with locked(folder):
        tidy_folder(folder, settings)
        if settings.retry == "failed":
            records.forget_failures(folder)
        if settings.prefetch:
            prefetch(folder, settings, runs)
            return 0
        prepare(folder)
        try:
            lost = run_missing(folder, settings, runs)
        except Detached:
            print("detached; the same command attaches and collects, `python -m study.status` looks")
            return 0
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt):  # a second one does not wait for this
                _collect(folder, runs, began)
            raise
        table, statuses = _collect(folder, runs, began)
        if settings.save_adapters == "best":
            for line in adapters.keep_best(folder, table, [run.run_id for run in runs]):
                print(line)
        if len(table):
            write_study(folder, table)
        if settings.report and statuses["ok"] + statuses["diverged"]:
            print(f"report: {draw(folder)}")
        return 1 if statuses["failed"] or lost else 0


def _collect(folder: Path, runs: list[Run], began: float) -> tuple[pd.DataFrame, Counter[str]]:
    """The table of runs, rebuilt with the others, and how this command's runs ended, which is printed."""
    made = tables.collect(folder, [run.run_id for run in runs])
    own_runs = made["runs"].run_id.isin(r.run_id for r in runs)
    statuses = Counter(made["runs"].status[own_runs])
    print(_summary(statuses, len(runs), time.monotonic() - began))
    return made["runs"], statuses


def _summary(statuses: Counter[str], planned: int, seconds: float) -> str:
    done = statuses.total()
    parts = [f"{statuses[name]} {name}" for name in ("ok", "diverged", "failed")]
    missing = [f"{planned - done} not run"] if done < planned else []
    return f"{done} of {planned} runs: {', '.join([*parts, *missing])}; {seconds:.0f} s"


def run_missing(folder: Path, settings: SweepSettings, runs: list[Run]) -> int:
    """Trains what has no record yet; returns how many runs were lost, to be done by the next call.

    Raises:
        UsageError: before any training, if a method does not fit the model, or the launcher refuses the jobs.
        CannotWrite: if the disk is full.
        Detached: if everything is submitted and nobody is to wait.
    """
    finished = records.statuses(folder).keys() & {run.run_id for run in runs}
    if len(finished) == len(runs):
        return 0
    progress = Progress(len(runs), len(finished))
    stay_offline_if_prefetched(folder)
    launcher = launchers.load(settings.launcher)
    capacity = launcher.capacity(len(runs))
    with launcher.open(folder, len(runs), settings.detach) as session:
        packs, profiles_by_variant = _plan(folder, settings, runs, session, capacity)
        write_plan(folder, settings, packs, profiles_by_variant, capacity.workers)
        print(format_packs(runs, packs, profiles_by_variant, capacity.workers), flush=True)
        unfinished = [left for pack in packs if (left := pack.without(finished))]
        jobs: list[Job] = [*train_jobs(folder, settings, unfinished, profiles_by_variant)]
        with progress:
            while jobs:  # a second time for the halves of packs that did not fit in memory
                answers = session.do(jobs)
                jobs = []
                for job, answer in answers:
                    assert isinstance(job, TrainJob)
                    jobs += _settle(job, answer, progress)
    return progress.lost


def train_jobs(
    folder: Path, settings: SweepSettings, packs: Sequence[Pack], profiles_by_variant: Mapping[str, Profile]
) -> list[TrainJob]:
    """What the launcher is given, the longest first, so that all end together."""
    jobs = [
        TrainJob(
            folder=str(folder.resolve()),
            runs=pack.runs,
            seconds=pack.seconds(profiles_by_variant),
            whole_model=profiles_by_variant[pack.runs[0].variant].whole_model,
            checkpoint_s=settings.checkpoint_s,
            save_adapters=settings.save_adapters != "none",
            sweep=settings.sweep,
            provenance=provenance(),
        )
        for pack in packs
    ]
    return sorted(jobs, key=lambda job: -job.seconds)


def _settle(job: TrainJob, answer: Answer, progress: Progress) -> list[TrainJob]:
    """Takes note of how a job ended; returns the jobs that are to be done instead of it.

    Raises:
        CannotWrite: if the disk is full.
    """
    match answer:
        case Trained(statuses):
            progress.add(Counter(statuses), job.title)
        case CannotStore(reason):
            raise CannotWrite(reason)
        case Lost(cause):
            progress.lose(len(job.runs), job.title, cause)
        case Died():
            if answer.killed and (halves := job.split()):
                progress.note(f"{job.title}: {answer.words}; out of memory? going on in halves")
                return halves
            _record_failure(job, answer)
            progress.add(Counter(["failed"] * len(job.runs)), job.title)
        case _:
            raise AssertionError(f"no answer to a pack: {answer}")
    return []


def _record_failure(job: TrainJob, answer: Died) -> None:
    """Writes records that say `failed`: nobody else will."""
    reason = answer.words
    if answer.killed:
        reason = f"out of memory in a pack of {len(job.runs)}: {reason}"
    circumstances = Circumstances(attempt=0, halved=job.halved, **vars(job.provenance))
    outcome = Outcome(status="failed", reason=reason)
    failures = [RunRecord(Identity.of(run, job.sweep), outcome, circumstances) for run in job.runs]
    records.write(Path(job.folder), job.pack_id, failures)


def _plan(
    folder: Path, settings: SweepSettings, runs: list[Run], session: Session, capacity: Capacity
) -> tuple[list[Pack], Mapping[str, Profile]]:
    """The packs, as an earlier call for the same runs planned them, and the variants' profiles."""
    before = read_plan(folder)
    by_id = {run.run_id: run for run in runs}
    if (
        before
        and before.settings.pack_size == settings.pack_size
        and before.settings.launcher.gpu_memory_gb == settings.launcher.gpu_memory_gb
        and before.run_ids == by_id.keys()
    ):
        packs = [Pack(tuple(by_id[run_id] for run_id in pack.run_ids)) for pack in before.packs]
        return packs, before.profiles
    groups = group_by_variant(runs)
    profiles_by_variant = profiles.probe_missing(groups, settings, session, capacity.threads)
    sizes = best_pack_sizes(groups, profiles_by_variant, capacity.workers, capacity.startup_s)
    return plan_packs(runs, sizes), profiles_by_variant
