"""A study from settings to report: plans it, has what is missing done, collects.

One coordinator works on a folder at a time. It does not import torch; workers do.
"""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from study import launchers, tracking
from study.cli.progress import Progress
from study.config.checks import check_sources
from study.coordination import profiles
from study.coordination.borrow import borrow, borrowable
from study.coordination.folder import gone_if_refused, tidy_folder
from study.coordination.here import worker_here
from study.coordination.inspection import Understanding, inspect
from study.coordination.kept_session import KeptSession
from study.coordination.plan_file import read_plan, write_plan
from study.coordination.prefetch import prefetch, stay_offline_if_prefetched
from study.coordination.same_origin import refuse_changes, standing
from study.launchers import Capacity, Detached, Session
from study.planning.inspection_text import format_inspections
from study.planning.jobs import Answer, CannotStore, Died, Lost, Refused, Trained, TrainJob
from study.planning.packs import Pack, best_pack_sizes, plan_packs
from study.planning.profile import Profile
from study.planning.progress import Tally
from study.planning.rungs import Round
from study.planning.runs import Run, group_by_variant
from study.planning.text import format_packs
from study.settings import SweepSettings
from study.storage import adapters, checkpoints, paused, records, tables
from study.storage.files import CannotWrite
from study.storage.lock import locked
from study.storage.optuna_index import write_study
from study.storage.provenance import provenance
from study.storage.rows import Circumstances, Identity, Outcome, RunRecord
from study.tracking.background import Tracking

if TYPE_CHECKING:
    import pandas as pd


def run_study(
    settings: SweepSettings,
    runs: list[Run],
    draw: Callable[[Path], Path],
    borrow_from: Path | None = None,
    rounds: Callable[[Path], Iterator[Round]] | None = None,
) -> int:
    """Does what is missing of the runs and draws the report; returns the command's exit code.

    Args:
        draw: draws the report of the study in a folder; returns its path.
        borrow_from: a folder of studies whose finished runs are taken over instead of being trained again.
        rounds: of a study that draws its runs from a space: in the place of `runs`, all that are known so
            far, each time that those before have ended or are paused. It is asked once the folder is locked.

    Raises:
        UsageError: before any training, if something about the command or the folder is wrong.
        CannotWrite: if the disk is full; nothing finished is lost.
        KeyboardInterrupt: after a signal, with what is finished collected.
    """
    folder = Path(settings.results) / settings.name
    began = time.monotonic()
    check_sources(settings)
    if settings.track:
        tracking.check(settings.track)
    launchers.load(settings.launcher).check_reachable()
    with gone_if_refused(folder), locked(folder):
        tidy_folder(folder, settings)
        if settings.retry == "failed":
            records.forget_failures(folder)
        try:
            lost = 0
            with KeptSession(folder, settings) as kept:
                for each in rounds(folder) if rounds else [Round(runs)]:
                    runs = list(each.runs)
                    if settings.prefetch:
                        prefetch(folder, settings, runs)
                        return 0
                    lost = run_missing(folder, settings, each, kept, borrow_from)
                    if lost:
                        break
        except Detached:
            print("detached; the same command attaches and collects, `python -m study.status` looks")
            return 0
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt):  # a second one does not wait for this
                _collect(folder, runs, began)
            raise
        table, statuses = _collect(folder, runs, began)
        checkpoints.forget(folder, table.run_id)
        paused.forget(folder, table.run_id)
        if settings.save_adapters == "best":
            for line in adapters.keep_best(folder, table, [run.run_id for run in runs]):
                print(line)
        if len(table) and not rounds:
            write_study(folder, table)
        if settings.report and statuses["ok"] + statuses["diverged"]:
            print(f"report: {draw(folder)}")
        return 1 if statuses["failed"] or lost else 0


def _collect(folder: Path, runs: list[Run], began: float) -> tuple[pd.DataFrame, Counter[str]]:
    """The table of runs, rebuilt with the others, and how this command's runs ended, which is printed."""
    table = tables.collect(folder, [run.run_id for run in runs])
    own_runs = table.run_id.isin(r.run_id for r in runs)
    statuses = Counter(table.status[own_runs])
    print(_summary(statuses, len(runs), time.monotonic() - began))
    reasons = table.reason[own_runs & (table.status == "failed")]
    for reason, count in Counter(reasons).items():
        print(f"  failed, {count} {'run' if count == 1 else 'runs'}: {reason}")
    return table, statuses


def _summary(statuses: Counter[str], planned: int, seconds: float) -> str:
    done = statuses.total()
    parts = [f"{statuses[name]} {name}" for name in ("ok", "diverged", "failed")]
    parts += [f"{statuses['pruned']} pruned"] * bool(statuses["pruned"])
    missing = [f"{planned - done} not run"] if done < planned else []
    return f"{done} of {planned} runs: {', '.join([*parts, *missing])}; {seconds:.0f} s"


def run_missing(
    folder: Path,
    settings: SweepSettings,
    round_: Round,
    kept: KeptSession,
    borrow_from: Path | None = None,
) -> int:
    """Trains what has no record yet, as far as the round goes; returns how many runs were lost, to be done by
    the next call.

    Raises:
        UsageError: before any training, if data, model, options or versions do not fit, or the launcher
            refuses the jobs.
        CannotWrite: if the disk is full.
        Detached: if everything is submitted and nobody is to wait.
    """
    runs = list(round_.runs)
    finished = _finished(folder, round_)
    if len(finished) == len(runs):
        return 0
    stay_offline_if_prefetched(folder)
    session, capacity = kept.at_work(len(runs))
    understood = _understood(folder, settings, [r for r in runs if r.run_id not in finished], session)
    if borrow_from:
        origins = {run.run_id: understood.origin(run) for run in runs if run.run_id not in finished}
        borrow(folder, borrowable(folder, borrow_from, origins, settings.mixed_versions))
        finished = _finished(folder, round_)
        if len(finished) == len(runs):
            return 0
    packs, profiles_by_variant = _plan(folder, settings, round_, session, capacity)
    origins_now = list(dict.fromkeys(understood.origin(r) for r in runs if r.run_id not in finished))
    write_plan(folder, settings, packs, profiles_by_variant, capacity.workers, origins_now)
    print(format_packs(runs, packs, profiles_by_variant, capacity.workers), flush=True)
    unfinished = [left for pack in packs if (left := pack.without(finished))]
    jobs = train_jobs(folder, settings, unfinished, profiles_by_variant, understood)
    with (
        Progress(folder, _tally(folder, round_, finished), capacity.workers) as progress,
        Tracking(settings.track, folder, progress.note) as tracked,
    ):
        while jobs:  # a second time for the halves of packs that did not fit in memory
            progress.begin(jobs)
            answers = session.do(jobs)
            jobs = []
            for job, answer in answers:
                assert isinstance(job, TrainJob)
                jobs += _settle(job, answer, progress)
                tracked.tell()
    return progress.tally.lost


def _tally(folder: Path, round_: Round, done: Collection[str]) -> Tally:
    """What there is to do in all, and what is done."""
    statuses = records.statuses(folder)
    steps = {run.run_id: round_.stops.get(run.run_id, run.task.steps) for run in round_.runs}
    return Tally(
        planned=len(steps),
        run_steps_planned=sum(steps.values()),
        run_steps=sum(steps[run_id] for run_id in done),
        statuses=Counter(statuses.get(run_id, "paused") for run_id in done),
    )


def _finished(folder: Path, round_: Round) -> set[str]:
    """The runs that have a record, and those that are paused where the round ends for them."""
    done = set(records.statuses(folder))
    for run_id, stop in round_.stops.items():
        if run_id not in done and paused.step(folder, run_id) >= stop:
            done.add(run_id)
    return done & {run.run_id for run in round_.runs}


def _understood(folder: Path, settings: SweepSettings, runs: list[Run], session: Session) -> Understanding:
    """Has the tasks of the runs inspected and says what was understood of them.

    Raises:
        UsageError: if they cannot be used, or are not what the folder's runs were made of.
    """
    if settings.launcher.name == "local":  # the workers keep what they load for the training
        understood = inspect(runs, session, elsewhere=False)
    else:
        with worker_here(settings) as here:
            understood = inspect(runs, here, elsewhere=True)
    origins = dict.fromkeys(understood.origin(run) for run in runs)
    notes = refuse_changes(folder, standing(folder, read_plan(folder)), origins, settings.mixed_versions)
    notes += [
        f"not inspected on this machine: {reason}" for reason in dict.fromkeys(understood.reasons.values())
    ]
    lines = format_inspections(understood.runs, understood.inspections)
    print("\n".join([*lines, *(f"  note: {note}" for note in notes)]), flush=True)
    return understood


def train_jobs(
    folder: Path,
    settings: SweepSettings,
    packs: Sequence[Pack],
    profiles_by_variant: Mapping[str, Profile],
    understood: Understanding,
) -> list[TrainJob]:
    """What the launcher is given, the longest first, so that all end together."""
    jobs = [
        TrainJob(
            folder=str(folder.resolve()),
            runs=pack.runs,
            seconds=pack.seconds(profiles_by_variant),
            mapping=profiles_by_variant[pack.runs[0].variant].mapping,
            checkpoint_s=settings.checkpoint_s,
            cuda_graphs=settings.launcher.cuda_graphs,
            save_adapters=settings.save_adapters != "none",
            sweep=settings.sweep,
            provenance=provenance(),
            until=pack.until,
            fingerprints=understood.fingerprints(pack.runs[0]),
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
            progress.add(job, statuses)
        case CannotStore(reason):
            raise CannotWrite(reason)
        case Lost(cause) | Refused(cause):
            progress.lose(job, cause)
        case Died():
            if answer.killed and (halves := job.split()):
                progress.note(f"{job.title}: {answer.words}; out of memory? going on in halves")
                return halves
            _record_failure(job, answer)
            progress.add(job, ["failed"] * len(job.runs))
        case _:
            raise AssertionError(f"no answer to a pack: {answer}")
    return []


def _record_failure(job: TrainJob, answer: Died) -> None:
    """Writes records that say `failed`: nobody else will."""
    reason = answer.words
    if answer.killed:
        reason = f"out of memory in a pack of {len(job.runs)}: {reason}"
    circumstances = Circumstances(
        attempt=0,
        halved=job.halved,
        data_fingerprint=job.fingerprints.data,
        model_fingerprint=job.fingerprints.model,
        judge_fingerprints=job.fingerprints.judges,
        **vars(job.provenance),
    )
    outcome = Outcome(status="failed", reason=reason)
    failures = [RunRecord(Identity.of(run, job.sweep), outcome, circumstances) for run in job.runs]
    records.write(Path(job.folder), job.pack_id, failures)


def _plan(
    folder: Path, settings: SweepSettings, round_: Round, session: Session, capacity: Capacity
) -> tuple[list[Pack], Mapping[str, Profile]]:
    """The packs, as an earlier call for the same runs planned them, and the variants' profiles.

    Of other runs or sizes, those that have begun go on from their checkpoints. A study that grows keeps the
    packs that it has, and has packs of the runs that are new, and of those that go on from a rung.
    """
    before = read_plan(folder)
    runs = list(round_.runs)
    by_id = {run.run_id: run for run in runs}
    packs: list[Pack] = []
    known: dict[str, Profile] = {}
    if (
        before
        and before.settings.pack_size == settings.pack_size
        and before.settings.launcher.gpu_memory_gb == settings.launcher.gpu_memory_gb
        and (before.run_ids == by_id.keys() or (settings.space and before.run_ids < by_id.keys()))
    ):
        ended = records.statuses(folder)
        for pack in before.packs:
            going_on = [run_id for run_id in pack.run_ids if run_id not in ended]
            if all(round_.stops.get(run_id) == pack.until for run_id in going_on):
                packs.append(Pack(tuple(by_id[run_id] for run_id in pack.run_ids), pack.until))
            elif kept := tuple(by_id[run_id] for run_id in pack.run_ids if run_id in ended):
                packs.append(Pack(kept, pack.until))
        known = dict(before.profiles)
        in_packs = {run.run_id for pack in packs for run in pack.runs}
        runs = [run for run in runs if run.run_id not in in_packs]
        if not runs:
            return packs, known
    groups = group_by_variant(runs)
    new = {variant: group for variant, group in groups.items() if variant not in known}
    known |= profiles.probe_missing(new, settings, session, capacity.threads)
    sizes = best_pack_sizes(groups, known, capacity.workers, capacity.startup_s)
    begun = [progress for progress in checkpoints.unfinished_packs(folder).values() if progress.step]
    begun.sort(key=lambda progress: -progress.step)
    together = [progress.run_ids for progress in begun]
    return packs + plan_packs(runs, sizes, together, round_.stops), known
