"""From settings to a study: plans it, has what is missing done, collects, keeps the folder in order.

It alone plans, launches and collects, one at a time per folder. It does not import torch; workers do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study.cli.progress import Progress
from study.config.checks import check_sources
from study.coordination import profiles
from study.errors import UsageError
from study.launchers import slurm
from study.launchers.local import Answer, Job, Pool, halves, threads_per_worker, worker_count
from study.launchers.slurm import STARTUP_S, Queue
from study.planning.runs import (
    DEFAULTS,
    Pack,
    Profile,
    Run,
    best_pack_sizes,
    by_variant,
    describe_memory,
    describe_packs,
    pack_seconds,
    plan_packs,
    variant_titles,
)
from study.settings import SweepSettings
from study.storage import adapters, records
from study.storage.files import CannotWrite, set_aside, write_atomically
from study.storage.lock import locked
from study.storage.optuna_index import write_study
from study.storage.provenance import provenance
from study.storage.schema import RECORD_VERSION

if TYPE_CHECKING:
    import pandas as pd

PREFETCHED = "prefetched"
"""A file in the study's folder: models and data are in the cache, workers need no internet."""


def carry_out(
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
    if settings.launcher.name == "slurm":
        slurm.check(settings.launcher)
    with locked(folder):
        tidy_folder(folder, settings)
        if settings.retry == "failed":
            records.set_aside_failures(folder)
        if settings.prefetch:
            prefetch(folder, settings, runs)
            return 0
        prepare(folder)
        try:
            lost = run_missing(folder, settings, runs)
        except slurm.Detached:
            print("detached; the same command attaches and collects, `python -m study.status` looks")
            return 0
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt):  # a second one does not wait for this
                _collect(folder, runs, began)
            raise
        tables, statuses = _collect(folder, runs, began)
        if settings.save_adapters == "best":
            adapters.keep_best(folder, tables["runs"])
        if len(tables["runs"]):
            write_study(folder, tables["runs"])
        if settings.report and statuses["ok"] + statuses["diverged"]:
            print(f"report: {draw(folder)}")
        return 1 if statuses["failed"] or lost else 0


def _collect(folder: Path, runs: list[Run], began: float) -> tuple[dict[str, pd.DataFrame], Counter[str]]:
    """The tables made anew, and how this command's runs ended, which is printed."""
    tables = records.collect(folder, [run.run_id for run in runs])
    statuses = Counter(tables["runs"].status[tables["runs"].run_id.isin(r.run_id for r in runs)])
    print(_summary(statuses, len(runs), time.monotonic() - began))
    return tables, statuses


def _summary(statuses: Counter[str], planned: int, seconds: float) -> str:
    done = statuses.total()
    parts = [f"{statuses[name]} {name}" for name in ("ok", "diverged", "failed")]
    missing = [f"{planned - done} not run"] if done < planned else []
    return f"{done} of {planned} runs: {', '.join([*parts, *missing])}; {seconds:.0f} s"


# The folder -----------------------------------------------------------------------------------


def tidy_folder(folder: Path, settings: SweepSettings) -> None:
    """Removes what a killed process left half done; sets damaged files aside.

    Where there are Slurm tasks, which may be writing this moment, only what has lain for an hour.

    Raises:
        UsageError: if the folder holds another study, or results of a newer version.
    """
    latest = time.time() - (3600 if (folder / "slurm").exists() else 0)
    for parent, folders, files in os.walk(folder):  # which bears that files vanish meanwhile
        for name in [*folders, *files]:
            leftover = Path(parent, name)
            if not (name.startswith(".") and name.endswith(".tmp")):
                continue
            with contextlib.suppress(FileNotFoundError):
                if leftover.lstat().st_mtime <= latest:
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
    records.set_damaged_aside(folder)
    try:
        plan = read_plan(folder)
    except DamagedPlan:
        set_aside(folder / "plan.json", "The study is planned anew.")
        return
    if plan is None:
        return
    before, now = DEFAULTS | plan["settings"]["task"], dataclasses.asdict(settings.task)
    for key, value in before.items():
        if now.get(key) != value and f"task.{key}" not in settings.axes:
            raise UsageError(
                f"{folder} holds runs with task.{key}={value}, not {now.get(key)}; give another name="
            )


class DamagedPlan(UsageError):
    """plan.json is not what was written."""


def read_plan(folder: Path) -> dict[str, Any] | None:
    """plan.json: settings, profiles, and of every pack its run_ids, title and estimated seconds; or None.

    Raises:
        DamagedPlan: if it cannot be read.
        UsageError: if a newer version wrote it.
    """
    path = folder / "plan.json"
    if not path.exists():
        return None
    try:
        plan = json.loads(path.read_text())
        version = plan["record_version"]
    except (ValueError, KeyError, TypeError):
        raise DamagedPlan(f"{path} is damaged; the sweep's command plans anew") from None
    records.check_version(path, version)
    unknown = {"titles": ["?"] * len(plan["packs"]), "seconds": [0.0] * len(plan["packs"]), "workers": 1}
    return unknown | plan  # version 1 did not say


def _write_plan(
    folder: Path, settings: SweepSettings, packs: list[Pack], found: dict[str, Profile], workers: int
) -> None:
    plan = {
        "record_version": RECORD_VERSION,
        "settings": dataclasses.asdict(settings),
        "profiles": found,
        "packs": [[run.run_id for run in pack.runs] for pack in packs],
        "titles": [pack.runs[0].title for pack in packs],
        "seconds": [pack_seconds(pack, found) for pack in packs],
        "workers": workers,
    }
    content = json.dumps(plan, indent=1, allow_nan=False).encode()
    write_atomically(folder / "plan.json", content)


# Running --------------------------------------------------------------------------------------


def launcher(folder: Path, settings: SweepSettings, runs: int) -> Pool | Queue:
    if (folder / PREFETCHED).exists():
        os.environ["HF_HUB_OFFLINE"] = "1"
    if settings.launcher.name == "slurm":
        return Queue(settings.launcher, folder, settings.detach)
    return Pool(settings.launcher, worker_count(settings.launcher, runs), folder / "logs")


def prefetch(folder: Path, settings: SweepSettings, runs: list[Run]) -> None:
    """Loads every model and data set of the runs once, on this machine.

    Raises:
        UsageError: if one cannot be loaded.
    """
    sources = {(run.task["model"], run.task["data"]): run for run in runs}
    jobs: list[Job] = [{"kind": "fetch", "run": dataclasses.asdict(run)} for run in sources.values()]
    with Pool(dataclasses.replace(settings.launcher, device="cpu"), 1, folder / "logs") as pool:
        for job, answer in pool.do(jobs):
            source = {key: job["run"]["task"][key] for key in ("model", "data")}
            if answer["event"] == "died" or "refused" in answer:
                raise UsageError(answer.get("refused") or f"loading {source} failed; see {pool.logs}")
            print(f"in the cache: model {source['model']}, data {source['data']}", flush=True)
    write_atomically(folder / PREFETCHED, b"")


def run_missing(folder: Path, settings: SweepSettings, runs: list[Run]) -> int:
    """Trains what has no record yet; returns how many runs were lost, to be done by the next call.

    Raises:
        UsageError: before any training, if a method does not fit the model, or Slurm refuses the jobs.
        CannotWrite: if the disk is full.
        Detached: if everything is submitted to Slurm and nobody is to wait.
    """
    finished = records.statuses(folder).keys() & {run.run_id for run in runs}
    if len(finished) == len(runs):
        return 0
    progress = Progress(len(runs), len(finished))
    with launcher(folder, settings, len(runs)) as pool:
        packs, found = _plan(folder, settings, runs, pool)
        _write_plan(folder, settings, packs, found, pool.workers)
        print(describe_packs(runs, packs, found, pool.workers), flush=True)
        jobs = jobs_of(folder, settings, _missing_packs(packs, set(finished)), found)
        with progress:
            while jobs:  # a second time for the halves of packs that did not fit in memory
                answered = pool.do(jobs)
                jobs = []
                for job, answer in answered:
                    jobs += _settle(job, answer, progress)
    return progress.lost


def jobs_of(folder: Path, settings: SweepSettings, packs: list[Pack], found: dict[str, Profile]) -> list[Job]:
    """What the launcher is given, the longest first, so that all end together."""
    columns = {"sweep": settings.sweep, "record_version": RECORD_VERSION, **provenance()}
    jobs: list[Job] = [
        {
            "kind": "train",
            "folder": str(folder.resolve()),
            "pack_id": pack.pack_id,
            "runs": [dataclasses.asdict(run) for run in pack.runs],
            "seconds": pack_seconds(pack, found),
            "whole": found[pack.runs[0].variant].get("whole", False),
            "checkpoint_s": settings.checkpoint_s,
            "save_adapters": settings.save_adapters != "none",
            "columns": columns,
        }
        for pack in packs
    ]
    return sorted(jobs, key=lambda job: -job["seconds"])


def _missing_packs(packs: list[Pack], finished: set[str]) -> list[Pack]:
    """The packs that are not done; one that is done in part keeps only its missing runs."""
    left = [Pack(tuple(run for run in pack.runs if run.run_id not in finished)) for pack in packs]
    return [pack for pack in left if pack.runs]


def _settle(job: Job, answer: Answer, progress: Progress) -> list[Job]:
    """Takes note of how a job ended; returns the jobs that are to be done instead of it."""
    title = Run(**job["runs"][0]).title
    if "error" in answer:
        raise CannotWrite(answer["error"])
    if answer["event"] == "lost":
        progress.lose(len(job["runs"]), title, answer["cause"])
        return []
    if answer["event"] == "died":
        killed = answer["code"] == -9
        cause = answer.get("cause") or f"its worker ended with code {answer['code']}, see logs/"
        if killed and (instead := halves(job)):
            progress.note(f"{title}: {cause}; out of memory? going on in halves")
            return instead
        words = f"out of memory in a pack of {len(job['runs'])}: " if killed else ""
        failed = [
            records.failed({**Run(**run).columns(), **job["columns"], "halved": job.get("halved", False)},
                           words + cause)
            for run in job["runs"]
        ]  # fmt: skip
        records.write(Path(job["folder"]), job["pack_id"], failed)
        answer = {"statuses": ["failed"] * len(failed)}
    progress.add(Counter(answer["statuses"]), title)
    return []


# Planning -------------------------------------------------------------------------------------


def _plan(
    folder: Path, settings: SweepSettings, runs: list[Run], pool: Pool | Queue
) -> tuple[list[Pack], dict[str, Profile]]:
    """The packs, as an earlier call for the same runs planned them, and the variants' profiles."""
    before = read_plan(folder)
    by_id = {run.run_id: run for run in runs}
    if before and _limits(before["settings"]) == _limits(dataclasses.asdict(settings)):
        planned = before["packs"]
        if {run_id for pack in planned for run_id in pack} == by_id.keys():
            packs = [Pack(tuple(by_id[run_id] for run_id in pack)) for pack in planned]
            return packs, before["profiles"]
    groups = by_variant(runs)
    found = profiles.measured(groups, settings, pool)
    return plan_packs(runs, best_pack_sizes(groups, found, pool.workers, pool.startup_s)), found


def _limits(settings: dict[str, Any]) -> list[Any]:
    """What the user says of the size of packs."""
    return [settings["pack_size"], settings["launcher"].get("gpu_memory_gb")]  # older plans lack the second


def describe(settings: SweepSettings, runs: list[Run]) -> str:
    """What the runs would take, from profiles at hand: this machine's, or the reference machine's.

    With `launcher.gpu_memory_gb`, where there are none, the memory they need, from the model's shape.

    Raises:
        UsageError: if a model or its data is not there, or does not fit in the memory.
    """
    groups = by_variant(runs)
    workers, startup_s = worker_count(settings.launcher, len(runs)), 0.0
    threads = threads_per_worker(workers)
    if settings.launcher.name == "slurm":
        workers, threads = settings.launcher.array_parallelism, settings.launcher.cpus_per_task
        startup_s = STARTUP_S
    own = profiles.kept(groups, settings, threads)
    reference = {}
    if settings.pack_size is None and settings.launcher.gpu_memory_gb is None:
        reference = profiles.of_reference_machine()
    found = {v: p for v, p in (reference | own).items() if v in groups}
    head = f"{settings.sweep}: {settings.task.name} ({settings.task.scale}), {len(runs)} runs"
    lines = [f"{head}, results in {Path(settings.results) / settings.name}"]
    if found.keys() != groups.keys():
        memory_gb = settings.launcher.gpu_memory_gb
        estimates = profiles.estimated(groups, settings) if memory_gb else {}
        titles = variant_titles(groups)
        for variant, group in groups.items():
            lines.append(f"  {titles[variant]}: {len(group)} runs")
            if memory_gb:
                estimate = estimates[variant]
                memory = describe_memory(estimate, len(group), memory_gb)
                lines[-1] += f"; {estimate['parameters']:,} parameters; {memory}"
        lines.append("  packs, parameters and time are measured at launch: new on this machine")
        return "\n".join(lines)
    packs = plan_packs(runs, best_pack_sizes(groups, found, workers, startup_s))
    lines.append(describe_packs(runs, packs, found, workers))
    if own.keys() != groups.keys():
        lines.append("  times as measured on the reference machine (results/reference)")
    return "\n".join(lines)
