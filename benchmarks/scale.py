"""`python -m benchmarks scale`: planning, submitting and collecting 1,000 to 100,000 runs.

A stand-in for submitit's executor answers every task at once with records of the real size, so that
what is timed is the harness alone. Each size runs in a process of its own. Writes scale.csv: seconds per
phase, peak memory (MB), files in the study's folder and their size (MB).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from benchmarks.command import command_parser
from study import config
from study.coordination.coordinator import train_jobs
from study.coordination.inspection import Understanding
from study.launchers.cluster.batches import write_answer
from study.launchers.slurm import Queue
from study.planning.jobs import Trained, TrainJob, job_from_json
from study.planning.packs import plan_packs
from study.planning.profile import Footprint, Profile, RunMapping
from study.planning.runs import Run, group_by_variant, plan_runs
from study.storage import records
from study.storage.rows import Circumstances, HistoryRow, Identity, LayerRow, Outcome, RunRecord
from study.storage.tables import collect

PACK, POINTS, LAYERS = 50, 7, 18
"""Runs in a pack; evaluation points and layers per run, as in the sweep lr_grid."""
PROFILE = Profile(
    "", RunMapping.LAYERS, PACK, {PACK: 0.01}, 0.1, activation_mb=0.0, footprint=Footprint(0, 0)
)


class StandIn:
    """Takes the place of submitit's executor: every task is done when it is submitted."""

    def __init__(self, *_: Any) -> None:
        pass

    def map_array(self, _: Callable[..., Any], answers: list[str], jobs: list[Any]) -> list[SimpleNamespace]:
        for answer_file, job_json in zip(answers, jobs, strict=True):
            job = job_from_json(job_json)
            assert isinstance(job, TrainJob)
            records.write(Path(job.folder), job.pack_id, [record(run, job) for run in job.runs])
            write_answer(Path(answer_file), Trained(("ok",) * len(job.runs)))
        return [SimpleNamespace(job_id="1_0")]


def record(run: Run, job: TrainJob) -> RunRecord:
    """A record of the size of a real one."""
    valid, loss, transform, weight, energy = (math.sqrt(i + run.seed + 2) for i in range(5))
    outcome = Outcome(
        "ok", metric="accuracy", higher_is_better=True, chance=0.1, valid=valid, test=0.5,
        transform_distance=transform, weight_distance=weight, he_change=energy,
    )  # fmt: skip
    return RunRecord(
        Identity.of(run, job.sweep),
        outcome,
        Circumstances(job.pack_id, **vars(job.provenance)),
        tuple(HistoryRow(step, 1.0, valid, loss, transform, weight, energy, 1.0) for step in range(POINTS)),
        tuple(
            LayerRow(f"vit.layers.{i}.q_proj", "in", transform, weight, 0.2, 0.1, energy, 0)
            for i in range(LAYERS)
        ),
    )


def measure(runs: int, folder: Path) -> dict[str, float]:
    """All phases for a study of `runs` runs in this process."""
    seeds = max(1, runs // 100)
    rates = ",".join(f"{10 ** (-4 + i / 5):.4g}" for i in range(20))
    settings = config.load("lr_grid", [f"seeds={seeds}", f"lr={rates}", "launcher=slurm"])
    clock = [time.perf_counter()]
    planned = plan_runs(settings)
    sizes = {variant: PACK for variant in group_by_variant(planned)}
    packs = plan_packs(planned, sizes)
    clock.append(time.perf_counter())
    profiles = {variant: PROFILE for variant in sizes}
    jobs = train_jobs(folder, settings, packs, profiles, Understanding({}))
    with Queue(settings.launcher, folder, make_executor=StandIn) as queue:
        answered = sum(1 for _ in queue.do(jobs))
    clock.append(time.perf_counter())
    done = len(records.statuses(folder))
    clock.append(time.perf_counter())
    table = collect(folder, [run.run_id for run in planned])
    clock.append(time.perf_counter())
    assert answered == len(packs) and done == len(table) == runs
    files = [path for path in folder.rglob("*") if path.is_file()]
    plan_s, submit_s, look_s, collect_s = (b - a for a, b in itertools.pairwise(clock))
    return {
        "runs": runs,
        "packs": len(packs),
        "plan_s": plan_s,
        "submit_s": submit_s,
        "look_s": look_s,
        "collect_s": collect_s,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "files": len(files),
        "size_mb": sum(path.stat().st_size for path in files) / 2**20,
    }


def main(arguments: list[str]) -> None:
    parser = command_parser("benchmarks scale", __doc__, results="results/benchmark")
    parser.add_argument("--runs", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        with tempfile.TemporaryDirectory() as folder:
            row = measure(chosen.one, Path(folder))
        print(json.dumps(row))
        return
    rows = []
    for runs in chosen.runs:
        command = [sys.executable, "-m", "benchmarks", "scale", "--one", str(runs)]
        answer = subprocess.run(command, check=True, capture_output=True, text=True)
        rows.append(json.loads(answer.stdout.splitlines()[-1]))
    table = pd.DataFrame(rows)
    Path(chosen.results).mkdir(parents=True, exist_ok=True)
    table.to_csv(Path(chosen.results) / "scale.csv", index=False)
    print(table.round(2).to_string(index=False))
