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

from study import config
from study.coordination.coordinator import jobs_of
from study.launchers.slurm import Queue
from study.planning.runs import Run, by_variant, plan_packs, plan_runs
from study.storage import records
from study.storage.files import to_json, write_atomically

PACK, POINTS, LAYERS = 50, 7, 18
"""Runs in a pack; evaluation points and layers per run, as in the sweep lr_grid."""
PROFILE = {"unpackable": "", "pack_size": PACK, "step_seconds": {"50": 0.01}, "measure_seconds": 0.1}


class StandIn:
    """Takes the place of submitit's executor: every task is done when it is submitted."""

    def __init__(self, *_: Any) -> None:
        pass

    def map_array(self, _: Callable[..., Any], answers: list[str], jobs: list[Any]) -> list[SimpleNamespace]:
        for answer, job in zip(answers, jobs, strict=True):
            found = [record(Run(**run), job) for run in job["runs"]]
            records.write(Path(job["folder"]), job["pack_id"], found)
            write_atomically(Path(answer), to_json({"statuses": ["ok"] * len(found)}))
        return [SimpleNamespace(job_id="1_0")]


def record(run: Run, job: dict[str, Any]) -> records.Record:
    """A record of the size of a real one."""
    figures = ("valid", "valid_loss", "transform_distance", "weight_distance", "he_change")
    numbers = {name: math.sqrt(i + run.seed + 2) for i, name in enumerate(figures)}
    layer = {"side": "in", "he": 0.1, "relative_distance": 0.2, "duplicates": 0, **numbers}
    more = {"status": "ok", "metric": "accuracy", "higher_is_better": True, "chance": 0.1, "test": 0.5}
    return {
        "row": {**run.columns(), **job["columns"], **numbers, **more, "pack_id": job["pack_id"]},
        "history": [{"step": step, "train_loss": 1.0, **numbers} for step in range(POINTS)],
        "layers": [{"layer": f"vit.layers.{i}.attention.q_proj", **layer} for i in range(LAYERS)],
    }


def measure(runs: int, folder: Path) -> dict[str, float]:
    """All phases for a study of `runs` runs in this process."""
    seeds = max(1, runs // 100)
    rates = ",".join(f"{10 ** (-4 + i / 5):.4g}" for i in range(20))
    settings = config.load("lr_grid", [f"seeds={seeds}", f"lr={rates}", "launcher=slurm"])
    clock = [time.perf_counter()]
    planned = plan_runs(settings)
    sizes = {variant: PACK for variant in by_variant(planned)}
    packs = plan_packs(planned, sizes)
    clock.append(time.perf_counter())
    jobs = jobs_of(folder, settings, packs, {variant: PROFILE for variant in sizes})
    with Queue(settings.launcher, folder, executor=StandIn) as queue:
        answered = sum(1 for _ in queue.do(jobs))
    clock.append(time.perf_counter())
    done = len(records.statuses(folder))
    clock.append(time.perf_counter())
    tables = records.collect(folder, [run.run_id for run in planned])
    clock.append(time.perf_counter())
    assert answered == len(packs) and done == len(tables["runs"]) == runs
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
    parser = argparse.ArgumentParser(prog="python -m benchmarks scale", description=__doc__)
    parser.add_argument("--runs", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--results", default="results/benchmark")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(chosen.one, Path(folder))
        print(json.dumps(found))
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
