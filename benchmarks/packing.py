"""`python -m benchmarks packing`: what packing gains, and what a step of each method costs.

Everything is measured side by side in one run of one thread, in turns, so that a machine that slows
down slows all alike. Leaves CSVs and figures in results/benchmark/ (`--results` for another place):

    ways      the runs of each method packed, one by one in one process, and one process per run
    sizes     seconds per run and step over pack sizes and batch sizes, and the probe's choice
    steps     a training step of each method over one of the bare frozen model
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from analysis.figures.style import figure_style, legend_beside, method_styles, save, subplots
from benchmarks.command import command_parser
from study import config, methods, tasks
from study.planning.packs import pack_sizes
from study.settings import SweepSettings
from study.tasks import Task
from study.training.hyperparameters import Hyperparameters
from study.training.passes import BaseScores
from study.training.probe import profile
from study.training.train import Training, train

BATCH_SIZES = (4, 8, 16, 32)


@dataclasses.dataclass
class Bench:
    """One sweep's task, model and methods, ready to be timed."""

    settings: SweepSettings
    task: Task
    model: nn.Module

    @classmethod
    def load(cls, overrides: list[str]) -> Bench:
        settings = config.load("lr_grid", overrides)
        task = tasks.load(settings.task)
        return cls(settings, task, task.model())

    def method(self, name: str) -> Any:
        return methods.config(name, self.settings.method.get(name, {}), self.settings.task.target_modules)

    def grid(self, count: int) -> list[Hyperparameters]:
        """The first `count` runs of the sweep's grid, in the plan's order."""
        seeds = self.settings.chosen_seeds
        return [Hyperparameters(lr, seed) for seed in seeds for lr in self.settings.lr][:count]

    def train(self, name: str, runs: list[Hyperparameters], size: int) -> float:
        """Seconds to train the runs from start to end, evaluations included, in packs of `size`."""
        start = time.perf_counter()
        scores = BaseScores(self.task, self.model)
        for first in range(0, len(runs), size):
            train(self.task, self.model, self.method(name), runs[first : first + size], scores)
        return time.perf_counter() - start

    def stepper(self, name: str, size: int) -> Callable[[], float]:
        """A function that does one training step of a fresh pack and returns its seconds per run."""
        training = Training(self.task, self.task.model(), self.method(name), self.grid(size))

        def step() -> float:
            start = time.perf_counter()
            training.train_step()
            return (time.perf_counter() - start) / size

        return step

    def frozen_stepper(self) -> Callable[[], float]:
        """One forward and backward of the bare model, down to its input as any adapter needs it."""

        def step() -> float:
            start = time.perf_counter()
            batch = self.task.batch(0, 0)
            name = next(k for k, v in batch.items() if v.is_floating_point())
            batch[name].requires_grad_()
            outputs = self.task.forward(self.model, batch)
            self.task.losses(outputs, batch).mean().backward()
            return time.perf_counter() - start

        return step


def in_turns(steppers: dict[Any, Callable[[], float]], rounds: int, warm: int = 2) -> dict[Any, float]:
    """Median seconds of each stepper, all of them stepped once per round."""
    times: dict[Any, list[float]] = {key: [] for key in steppers}
    for round_ in range(warm + rounds):
        for key, step in steppers.items():
            seconds = step()
            if round_ >= warm:
                times[key].append(seconds)
    return {key: statistics.median(values) for key, values in times.items()}


def measure_ways(bench: Bench, names: list[str], count: int, processes: int) -> pd.DataFrame:
    """Seconds per run: packed at the probe's size, one by one, and one process per run.

    The processes are a sample of `processes` runs of the grid, each from `python` to the end.
    """
    rows = []
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    runs = bench.grid(count)
    for name in names:
        size = profile(bench.task, bench.model, bench.method(name), count, None).pack_size
        packed = bench.train(name, runs, size)
        one_by_one = bench.train(name, runs, 1)
        start = time.perf_counter()
        for run in runs[:processes]:
            arguments = [
                name,
                "--one-run",
                str(run.lr),
                str(run.seed),
                *_as_overrides(bench.settings),
            ]
            command = [sys.executable, "-m", "benchmarks", "packing", "--methods", *arguments]
            subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        alone = (time.perf_counter() - start) / processes
        row = {"method": name, "runs": count, "pack_size": size, "packed": packed / count}
        row |= {"one_by_one": one_by_one / count, "process_per_run": alone}
        row |= {"gain_over_one_by_one": one_by_one / packed}
        rows.append(row | {"gain_over_process_per_run": alone * count / packed})
        print(
            pd.DataFrame(rows[-1:]).round(3).to_string(index=False, header=len(rows) == 1),
            flush=True,
        )
    return pd.DataFrame(rows)


def _as_overrides(settings: SweepSettings) -> list[str]:
    return [
        "--set",
        f"task.steps={settings.task.steps}",
        f"task.batch_size={settings.task.batch_size}",
    ]


def measure_sizes(overrides: list[str], names: list[str], most: int, rounds: int) -> pd.DataFrame:
    """Seconds per run and step for each method, batch size and pack size, and the probe's choice."""
    rows = []
    for batch_size in BATCH_SIZES:
        bench = Bench.load([*overrides, f"task.batch_size={batch_size}"])
        for name in names:
            seconds = in_turns({s: bench.stepper(name, s) for s in pack_sizes(most)}, rounds)
            chosen = profile(bench.task, bench.model, bench.method(name), most, None).pack_size
            best = min(seconds.values())
            for size, value in seconds.items():
                row = {
                    "method": name,
                    "batch_size": batch_size,
                    "pack_size": size,
                    "seconds": value,
                }
                row |= {
                    "gain": seconds[1] / value,
                    "over_best": value / best,
                    "chosen": size == chosen,
                }
                rows.append(row)
            over = 100 * (seconds[chosen] / best - 1)
            choice = f"the probe chooses {chosen}, {over:.0f} % over the best"
            gain = f"best pack {seconds[1] / best:.1f}x one by one"
            print(f"{name}, batch {batch_size}: {gain}; {choice}", flush=True)
    return pd.DataFrame(rows)


def measure_steps(bench: Bench, names: list[str], size: int, rounds: int) -> pd.DataFrame:
    """A training step of each method alone and packed, over one of the bare frozen model."""
    steppers = {(name, s): bench.stepper(name, s) for name in names for s in (1, size)}
    seconds = in_turns({("frozen", 1): bench.frozen_stepper(), **steppers}, rounds)
    frozen = seconds[("frozen", 1)]
    rows = [
        {"method": name, "pack_size": s, "seconds": value, "over_frozen": value / frozen}
        for (name, s), value in seconds.items()
    ]
    return pd.DataFrame(rows)


@figure_style()
def draw_sizes(sizes: pd.DataFrame, folder: Path) -> None:
    """Gain over one by one against pack size, a panel per batch size; the probe's choice ringed."""
    names = list(dict.fromkeys(sizes["method"]))
    styles = method_styles(names, {name: name for name in names})
    batches = sorted(sizes["batch_size"].unique())
    size = (2.6 * len(batches) + 1, 2.9)
    figure, axes = subplots(1, len(batches), size=size, sharey=True, squeeze=False)
    for panel, batch in zip(axes.flat, batches, strict=True):
        for name, style in styles.items():
            line = sizes[(sizes["method"] == name) & (sizes["batch_size"] == batch)]
            panel.plot(line["pack_size"], line["gain"], marker=".", color=style.colour, label=style.name)
            ring = line[line["chosen"]]
            panel.plot(ring["pack_size"], ring["gain"], "o", mfc="none", ms=10, color=style.colour)
        panel.set_xscale("log")
        panel.set_title(f"batch size {batch}")
        panel.set_xlabel("runs in a pack")
    axes.flat[0].set_ylabel("speed of a step over one by one")
    legend_beside(axes.flat[-1])
    save(figure, sizes, folder, "sizes")


def main(arguments: list[str]) -> None:
    parser = command_parser("benchmarks packing", __doc__, results="results/benchmark")
    parser.add_argument("--methods", nargs="+", help="default: those of the sweep lr_grid")
    parser.add_argument("--runs", type=int, default=45, help="runs of each method (default 45)")
    parser.add_argument("--processes", type=int, default=3, help="sample for one process per run (default 3)")
    parser.add_argument("--rounds", type=int, default=9, help="timed steps of each kind (default 9)")
    parser.add_argument("--set", nargs="*", default=[], metavar="key=value", help="overrides of lr_grid")
    parser.add_argument("--one-run", nargs=2, metavar=("LR", "SEED"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    bench = Bench.load(chosen.set)
    names = chosen.methods or bench.settings.methods
    if chosen.one_run:
        lr, seed = chosen.one_run
        bench.train(names[0], [Hyperparameters(float(lr), int(seed))], 1)
        return
    folder = Path(chosen.results)
    folder.mkdir(parents=True, exist_ok=True)
    steps = measure_steps(bench, names, min(9, chosen.runs), 4 * chosen.rounds)
    steps.to_csv(folder / "steps.csv", index=False)
    print(steps.round(5).to_string(index=False))
    sizes = measure_sizes(chosen.set, names, chosen.runs, chosen.rounds)
    draw_sizes(sizes, folder)
    measure_ways(bench, names, chosen.runs, chosen.processes).to_csv(folder / "ways.csv", index=False)
