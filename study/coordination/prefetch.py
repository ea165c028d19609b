"""Models and data loaded once, where there is internet, for workers that have none."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

from study import launchers
from study.errors import UsageError
from study.planning.jobs import Fetched, FetchJob, Refused
from study.planning.runs import Run
from study.settings import JUDGES, SweepSettings
from study.storage.files import write_atomically

PREFETCHED = "prefetched"
"""A file in the study's folder: models and data are in the cache, workers need no internet."""


def prefetch(folder: Path, settings: SweepSettings, runs: list[Run]) -> None:
    """Loads every model and data set of the runs once, on this machine.

    Raises:
        UsageError: if one cannot be loaded.
    """
    by_source = {
        (run.task.model, run.task.data, *(getattr(run.task, judge) for judge in JUDGES)): run for run in runs
    }
    jobs = [FetchJob(run) for run in by_source.values()]
    here = dataclasses.replace(settings.launcher, name="local", device="cpu", workers=1)
    with launchers.load(here).open(folder, len(jobs)) as session:
        for job, answer in session.do(jobs):
            match answer:
                case Fetched():
                    print(f"in the cache: {job.title}", flush=True)
                case Refused(reason):
                    raise UsageError(reason)
                case _:
                    raise UsageError(f"loading {job.title} failed; see {folder / 'logs'}")
    write_atomically(folder / PREFETCHED, b"")


def stay_offline_if_prefetched(folder: Path) -> None:
    """Keeps workers, which inherit this process's environment, from asking the hub."""
    if (folder / PREFETCHED).exists():
        os.environ["HF_HUB_OFFLINE"] = "1"
