"""`python -m study.sweep NAME [key=value ...]`: plans a sweep, runs what is missing, draws the report."""

from __future__ import annotations

import contextlib
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from study import config, methods, records, slurm, tasks
from study.checks import check_sources
from study.config import SweepSettings
from study.coordinator import describe, prefetch, run_missing, tidy_folder
from study.errors import UsageError
from study.files import CannotWrite
from study.lock import locked
from study.plan import Run, plan_runs

if TYPE_CHECKING:
    import pandas as pd

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
         checkpoint_s=60              seconds between checkpoints of a pack in training
         launcher.workers=2 launcher.device=cpu|cuda
         launcher=slurm               array tasks on a cluster: launcher.partition=NAME .account= .qos=
                                      .timeout_min= .array_parallelism= ... (study/config.py)
         detach=true                  with launcher=slurm: submit and return; the same command attaches
         prefetch=true                load models and data into the cache, run nothing
         dry_run=true                 print the plan, run nothing
         retry=failed                 repeat runs that failed

exit     0 every run ended (diverged counts), 1 some failed or were lost, 2 wrong usage,
         130/143 after a signal
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
    except CannotWrite as error:
        print(f"error: {error}; what is finished is kept: the same command goes on", file=sys.stderr)
        return 1
    except KeyboardInterrupt as interrupt:
        command = shlex.join(["python", "-m", "study.sweep", *arguments])
        print(f"stopped; what is finished is kept. Go on with: {command}")
        return 143 if isinstance(interrupt, Terminated) else 130


def sweep(settings: SweepSettings, arguments: list[str]) -> int:
    """Carries out the sweep; returns the command's exit code.

    Raises:
        UsageError: before any training, if something about the command or the folder is wrong.
        CannotWrite: if the disk is full; nothing finished is lost.
    """
    folder = Path(settings.results) / settings.name
    began = time.monotonic()
    check_sources(settings)
    if settings.launcher.name == "slurm":
        slurm.check(settings.launcher)
    with locked(folder), _sigterm_as_interrupt():
        tidy_folder(folder, settings)
        if settings.retry == "failed":
            records.set_aside_failures(folder)
        runs = plan_runs(settings)
        try:
            if settings.prefetch:
                prefetch(folder, settings, runs)
                return 0
            lost = run_missing(folder, settings, runs)
        except slurm.Detached:
            print("detached; the same command attaches and collects, `python -m study.status` looks")
            return 0
        except KeyboardInterrupt:
            with contextlib.suppress(KeyboardInterrupt):  # a second one does not wait for this
                _collect(folder, runs, began)
            raise
        tables, statuses = _collect(folder, runs, began)
        if len(tables["runs"]):
            from study.trials import write_study

            write_study(folder, tables["runs"])
        if settings.report and statuses["ok"] + statuses["diverged"]:
            from analysis.report import draw

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


@contextlib.contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    def interrupt(*_: Any) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
