"""`python -m study.sweep NAME [key=value ...]`: plans a sweep, runs what is missing, draws the report.

The coordinator: it alone plans, launches and collects. It does not import torch; workers do.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from study import config, methods, profiles, records, tasks
from study.config import SweepSettings
from study.errors import UsageError
from study.launch import Answer, Job, Pool, threads_per_worker, worker_count
from study.lock import locked
from study.plan import (
    DEFAULTS,
    Pack,
    Profile,
    Run,
    best_pack_sizes,
    by_variant,
    describe_packs,
    pack_seconds,
    plan_packs,
    plan_runs,
)
from study.provenance import provenance
from study.schema import RECORD_VERSION

HELP = """\
usage: python -m study.sweep NAME [key=value ...]

Runs the sweep sweeps/NAME.yaml, whatever of it is missing, and leaves tables, figures and report.html
in results/NAME/. Interrupt it at will: the same command goes on from there.

sweeps   {sweeps}
tasks    {tasks}
methods  {methods}
         and every tuner of the installed peft, as hra, boft, ... or peft:NAME

keys     method=ether,lora            methods to run
         lr=1e-3,1e-2                 learning rates
         seeds=3                      seeds 0, 1, 2
         method.ether.blocks=8        an option; a,b,c on any key adds an axis to the grid
         task=NAME scale=mini|paper   task.steps=100 task.model=PATH task.data=PATH ...
         name=STUDY results=FOLDER    where the results go: FOLDER/STUDY
         pack_size=1                  runs trained together (default: found by a probe)
         launcher.workers=2 launcher.device=cpu|cuda
         dry_run=true                 print the plan, run nothing
         retry=failed                 repeat runs that failed

exit     0 every run ended (diverged counts), 1 some failed, 2 wrong usage, 130/143 after a signal
"""


class Terminated(KeyboardInterrupt):
    """SIGTERM: stop as on Ctrl-C, with another exit code."""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        own = ", ".join(["lora", *sorted(methods.own_names())])
        names = {"sweeps": config.sweep_names(), "tasks": tasks.names()}
        print(HELP.format(methods=own, **{key: ", ".join(value) for key, value in names.items()}))
        return 0 if arguments else 2
    try:
        settings = config.load(arguments[0], arguments[1:])
        if settings.dry_run:
            print(describe(settings))
            return 0
        return sweep(settings, arguments)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def sweep(settings: SweepSettings, arguments: list[str]) -> int:
    """Carries out the sweep; returns the command's exit code.

    Raises:
        UsageError: before any training, if something about the command or the folder is wrong.
    """
    folder = Path(settings.results) / settings.name
    began = time.monotonic()
    with locked(folder), _sigterm_as_interrupt():
        _check_folder(folder, settings)
        if settings.retry == "failed":
            records.set_aside_failures(folder)
        runs = plan_runs(settings)
        code = 0
        try:
            _run_missing(folder, settings, runs)
        except KeyboardInterrupt as interrupt:
            code = 143 if isinstance(interrupt, Terminated) else 130
        tables = records.collect(folder, [run.run_id for run in runs])
        statuses = Counter(tables["runs"].status[tables["runs"].run_id.isin(r.run_id for r in runs)])
        print(_summary(statuses, len(runs), time.monotonic() - began))
        if code:
            command = shlex.join(["python", "-m", "study.sweep", *arguments])
            print(f"stopped; what is finished is kept. Go on with: {command}")
            return code
        if len(tables["runs"]):
            from study.trials import write_study

            write_study(folder, tables["runs"])
        if settings.report and statuses["ok"] + statuses["diverged"]:
            from analysis.report import draw

            print(f"report: {draw(folder)}")
        return 1 if statuses["failed"] else 0


def _summary(statuses: Counter[str], planned: int, seconds: float) -> str:
    done = statuses.total()
    parts = [f"{statuses[name]} {name}" for name in ("ok", "diverged", "failed")]
    missing = [f"{planned - done} not run"] if done < planned else []
    return f"{done} of {planned} runs: {', '.join([*parts, *missing])}; {seconds:.0f} s"


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    def interrupt(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


# The folder -----------------------------------------------------------------------------------


def _check_folder(folder: Path, settings: SweepSettings) -> None:
    """Refuses a folder that holds another study, or results of a newer version."""
    for leftover in folder.rglob(".*.tmp"):
        leftover.unlink()
    plan = _read_plan(folder)
    if plan is None:
        return
    before, now = DEFAULTS | plan["settings"]["task"], dataclasses.asdict(settings.task)
    for key, value in before.items():
        if now.get(key) != value and f"task.{key}" not in settings.axes:
            raise UsageError(
                f"{folder} holds runs with task.{key}={value}, not {now.get(key)}; give another name="
            )


def _read_plan(folder: Path) -> dict[str, Any] | None:
    path = folder / "plan.json"
    if not path.exists():
        return None
    plan = json.loads(path.read_text())
    records.check_version(path, plan["record_version"])
    return plan


def _write_plan(folder: Path, settings: SweepSettings, packs: list[Pack], found: dict[str, Profile]) -> None:
    plan = {
        "record_version": RECORD_VERSION,
        "settings": dataclasses.asdict(settings),
        "profiles": found,
        "packs": [[run.run_id for run in pack.runs] for pack in packs],
    }
    content = json.dumps(plan, indent=1).encode()
    records.write_atomically(folder / "plan.json", content)


# Running --------------------------------------------------------------------------------------


def _run_missing(folder: Path, settings: SweepSettings, runs: list[Run]) -> None:
    finished = records.read_all(folder).keys() & {run.run_id for run in runs}
    if len(finished) == len(runs):
        return
    workers = worker_count(settings.launcher, len(runs))
    with Pool(settings.launcher, workers, folder / "logs") as pool:
        packs, found = _plan(folder, settings, runs, pool)
        _write_plan(folder, settings, packs, found)
        print(describe_packs(runs, packs, found, workers))
        jobs: list[Job] = [
            {
                "kind": "train",
                "folder": str(folder.resolve()),
                "pack_id": pack.pack_id,
                "runs": [dataclasses.asdict(run) for run in pack.runs],
                "seconds": pack_seconds(pack, found),
                "columns": {
                    "sweep": settings.sweep,
                    "record_version": RECORD_VERSION,
                    **provenance(),
                },
            }
            for pack in _missing_packs(packs, set(finished))
        ]
        jobs.sort(key=lambda job: -job["seconds"])  # the longest first, so that all end together
        _follow(pool.do(jobs), len(runs), len(finished))


def _missing_packs(packs: list[Pack], finished: set[str]) -> list[Pack]:
    """The packs that are not done; one that is done in part keeps only its missing runs."""
    left = [Pack(tuple(run for run in pack.runs if run.run_id not in finished)) for pack in packs]
    return [pack for pack in left if pack.runs]


def _follow(answers: Iterator[tuple[Job, Answer]], planned: int, done: int) -> None:
    """Shows progress: a bar on a terminal, a line per pack elsewhere."""
    from tqdm import tqdm

    terminal = sys.stderr.isatty()
    with tqdm(total=planned, initial=done, unit="run", disable=not terminal) as bar:
        for job, answer in answers:
            if answer["event"] == "step":
                continue
            first = Run(**job["runs"][0])
            if answer["event"] == "died":
                reason = f"worker ended twice with code {answer['code']}; see logs/ in {job['folder']}"
                found = [
                    records.failed({**Run(**run).columns(), **job["columns"]}, reason) for run in job["runs"]
                ]
                records.write(Path(job["folder"]), job["pack_id"], found)
                answer = {"statuses": ["failed"] * len(found)}
            statuses: Counter[str] = Counter(answer["statuses"])
            done += statuses.total()
            bar.update(statuses.total())
            if not terminal:
                notes = [f"{n} {name}" for name, n in statuses.items() if name != "ok"]
                print(f"{done}/{planned} runs: {first.method}", *notes, flush=True)


# Planning -------------------------------------------------------------------------------------


def _plan(
    folder: Path, settings: SweepSettings, runs: list[Run], pool: Pool
) -> tuple[list[Pack], dict[str, Profile]]:
    """The packs, as an earlier call for the same runs planned them, and the variants' profiles."""
    before = _read_plan(folder)
    by_id = {run.run_id: run for run in runs}
    if before and before["settings"]["pack_size"] == settings.pack_size:
        planned = before["packs"]
        if {run_id for pack in planned for run_id in pack} == by_id.keys():
            packs = [Pack(tuple(by_id[run_id] for run_id in pack)) for pack in planned]
            return packs, before["profiles"]
    groups = by_variant(runs)
    found = profiles.measured(groups, settings, pool)
    return plan_packs(runs, best_pack_sizes(groups, found, pool.workers)), found


def describe(settings: SweepSettings) -> str:
    """What the sweep would do, from profiles at hand: this machine's, or the reference machine's."""
    runs = plan_runs(settings)
    groups = by_variant(runs)
    workers = worker_count(settings.launcher, len(runs))
    own = profiles.kept(groups, settings, threads_per_worker(workers))
    reference = profiles.of_reference_machine() if settings.pack_size is None else {}
    found = {v: p for v, p in (reference | own).items() if v in groups}
    head = f"{settings.sweep}: {settings.task.name} ({settings.task.scale}), {len(runs)} runs"
    lines = [f"{head}, results in {Path(settings.results) / settings.name}"]
    if found.keys() != groups.keys():
        for group in groups.values():
            lines.append(f"  {group[0].title}: {len(group)} runs")
        lines.append("  packs, parameters and time are measured at launch: new on this machine")
        return "\n".join(lines)
    packs = plan_packs(runs, best_pack_sizes(groups, found, workers))
    lines.append(describe_packs(runs, packs, found, workers))
    if own.keys() != groups.keys():
        lines.append("  times as measured on the reference machine (results/reference)")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
