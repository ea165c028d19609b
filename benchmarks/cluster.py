"""`python -m benchmarks cluster`: how large the packs of a large sweep should be on a GPU cluster.

A discrete-event simulation, no measurement: `--runs` runs of one method, cut into packs of nearly equal
size, each pack one task on one of G GPUs. Large packs train faster per run; small packs spread evenly.

Measured: seconds per run and step against pack size (`--sizes`, written by the benchmark `packing`),
linear in the logarithm of the size between measured sizes and never beyond the largest; only its shape
counts, since a run alone is set to take `--alone-minutes`. And the 121 s that a requeued Slurm job waits.

Assumed, each an option but the stragglers: every task pays `--startup-s` before it trains. A busy GPU is
preempted as a Poisson process, `--preemptions` per GPU and day. The task then loses what it did since its
last checkpoint, one every `--checkpoint-s` of training at no cost, waits, and starts again on any free
GPU; its own GPU is free at once. A GPU's speed is lognormal with median 1 and sigma `--spread`; one in
twenty is half as fast. The queue is in order of length, longest first (Graham 1969, SIAM J. Appl. Math.
17:416), which a job array can have; it knows no speeds, and a requeued pack has its old place. Memory
does not limit the packs.

Ideal is the runs at the best measured seconds per run, divided evenly among G GPUs of speed 1, without
start-up or preemption. Two rules choose without a simulation: `three` takes the largest pack that leaves
three packs per GPU, but none larger than the fastest measured; `bound` takes the pack with the least of
all work / G + one pack, start-ups included, which is Graham's bound for equal GPUs. Leaves cluster.csv,
cluster.png and cluster.pdf in `--results`: the makespan over the ideal, median and 5 to 95 % over
`--seeds` seeds. Times are in seconds, in the CSV in hours.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from analysis.figures.style import REFERENCE, figure_style, legend_beside, save, subplots
from benchmarks.cluster_simulation import DAY, Cluster, Curve, choose_bound, choose_three, simulate_seed
from benchmarks.command import command_parser
from study.errors import UsageError

SIZES = (1, 2, 3, 4, 5, 7, 9, 12, 15, 19, 23, 32, 45, 64, 90, 128, 180, 256)
GPUS = (10, 30, 100, 300, 1000)
PREEMPTIONS = (0.0, 2.0, 24.0)  # varied on VARIED GPUs
VARIED = 100
RULES = {"three": ("o", "three packs per GPU"), "bound": ("s", "least bound (Graham)")}  # marker and name


def measure(curve: Curve, cluster: Cluster, runs: int, alone_s: float, seeds: int) -> pd.DataFrame:
    """A row per pack size on this cluster; the best and each rule's choice are marked."""
    three = choose_three(runs, cluster.gpus, curve.fastest)
    bound = choose_bound(curve, cluster, runs, alone_s)
    ideal = runs * alone_s * curve.at(curve.fastest) / curve.at(1) / cluster.gpus
    most = min(runs, curve.sizes[-1])
    rows = []
    for size in sorted({size for size in SIZES if size < most} | {three, bound, most}):
        work = curve.work(runs, size, alone_s)
        outcomes = [simulate_seed(work, cluster, seed) for seed in range(seeds)]
        low, median, high = np.percentile([outcome.makespan for outcome in outcomes], (5, 50, 95))
        row = {"gpus": cluster.gpus, "preemptions": cluster.preemptions, "pack_size": size}
        row |= {"packs": len(work), "pack_hours": max(work) / 3600, "makespan_hours": median / 3600}
        row |= {"over_ideal": median / ideal, "low": low / ideal, "high": high / ideal}
        row |= {"restarts": sum(outcome.preempted for outcome in outcomes) / seeds}
        rows.append(row | {"three": size == three, "bound": size == bound})
    table = pd.DataFrame(rows)
    table["best"] = table["over_ideal"] == table["over_ideal"].min()
    return table


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Per cluster: makespan over ideal at the best size, one by one and at the largest; rules over best."""
    rows = []
    for (gpus, preemptions), by_size in table.groupby(["gpus", "preemptions"]):
        best = by_size[by_size["best"]].iloc[0]
        row = {"gpus": gpus, "preemptions": preemptions, "best_size": best["pack_size"]}
        row |= {"best": best["over_ideal"]}
        row |= {"one_by_one": by_size["over_ideal"].iloc[0], "largest": by_size["over_ideal"].iloc[-1]}
        for name in RULES:
            ruled = by_size[by_size[name]].iloc[0]
            row |= {f"{name}_size": ruled["pack_size"]}
            row |= {f"{name}_over_best": ruled["over_ideal"] / best["over_ideal"]}
        rows.append(row)
    return pd.DataFrame(rows)


def draw_lines(axes: Axes, table: pd.DataFrame, column: str, label: str) -> None:
    """A line with its band for each value of `column`, from light to dark; the rules' choices marked."""
    values = sorted(table[column].unique())
    colours = colormaps["viridis_r"](np.linspace(0.15, 1, len(values)))
    for value, colour in zip(values, colours, strict=True):
        line = table[table[column] == value]
        axes.plot(line["pack_size"], line["over_ideal"], marker=".", color=colour, label=label.format(value))
        axes.fill_between(line["pack_size"], line["low"], line["high"], color=colour, alpha=0.2, lw=0)
        for name, (marker, _) in RULES.items():
            ring = line[line[name]]
            axes.plot(ring["pack_size"], ring["over_ideal"], marker, mfc="none", ms=10, color=colour)
    axes.axhline(1, color=REFERENCE, lw=0.8, ls="--")
    axes.set(xscale="log", yscale="log", xlabel="runs in a pack")
    for axis, ticks in ((axes.xaxis, (1, 2, 5, 10, 20, 50, 100, 200)), (axes.yaxis, (1, 1.5, 2, 3, 5, 10))):
        low, high = axis.get_view_interval()
        axis.set_ticks([tick for tick in ticks if low <= tick <= high])
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())


@figure_style()
def draw(table: pd.DataFrame, preemptions: float, folder: Path) -> None:
    """Left the number of GPUs, right the preemptions on one of those clusters."""
    figure, (left, right) = subplots(1, 2, size=(10.5, 3.7))
    draw_lines(left, table[table["preemptions"] == preemptions], "gpus", "{:,} GPUs")
    for marker, name in RULES.values():
        left.plot([], [], marker, mfc="none", ms=10, color=REFERENCE, label=name)
    left.set_title(f"{preemptions:g} preemptions per GPU and day")
    left.set_ylabel("makespan over ideal")
    draw_lines(right, table[table["gpus"] == VARIED], "preemptions", "{:g} a day")
    right.set_title(f"preemptions of each of {VARIED} GPUs")
    for axes in (left, right):
        legend_beside(axes)
    save(figure, table, folder, "cluster")


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = command_parser("benchmarks cluster", __doc__, results="results/benchmark")
    parser.add_argument("--method", default="lora")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--alone-minutes", type=float, default=30.0)
    parser.add_argument("--startup-s", type=float, default=30.0)
    parser.add_argument("--checkpoint-s", type=float, default=60.0)
    parser.add_argument("--preemptions", type=float, default=2.0, help="per GPU and day (default 2)")
    parser.add_argument("--spread", type=float, default=0.05, help="of the GPUs' speeds (default 0.05)")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--sizes", default="results/reference/benchmark/sizes.csv", help="measured curve")
    chosen = parser.parse_args(arguments)
    if min(chosen.runs, chosen.alone_minutes, chosen.checkpoint_s, chosen.seeds) <= 0:
        raise UsageError("--runs, --alone-minutes, --checkpoint-s and --seeds must be above 0")
    if min(chosen.startup_s, chosen.preemptions, chosen.spread) < 0:
        raise UsageError("--startup-s, --preemptions and --spread must not be below 0")
    if max(chosen.preemptions, *PREEMPTIONS) * (chosen.startup_s + chosen.checkpoint_s) > DAY:
        raise UsageError("tasks are preempted before their first checkpoint; fewer --preemptions")
    return chosen


def main(arguments: list[str]) -> None:
    chosen = parse(arguments)
    curve = Curve.read(Path(chosen.sizes), chosen.method, chosen.batch_size)
    cluster = Cluster(
        VARIED, chosen.startup_s, chosen.checkpoint_s, preemptions=chosen.preemptions, spread=chosen.spread
    )
    clusters = [replace(cluster, gpus=gpus) for gpus in GPUS]
    clusters += [replace(cluster, preemptions=p) for p in PREEMPTIONS if p != chosen.preemptions]
    alone_s = chosen.alone_minutes * 60
    table = pd.concat([measure(curve, c, chosen.runs, alone_s, chosen.seeds) for c in clusters])
    table.insert(0, "method", chosen.method)
    table.insert(1, "batch_size", chosen.batch_size)
    table.insert(2, "runs", chosen.runs)
    print(table.drop(columns=["method", "batch_size", "runs"]).round(3).to_string(index=False))
    print(
        f"\nBest sizes, and the rules' makespan over the best; the fastest measured pack is {curve.fastest}:"
    )
    print(summarise(table).round(3).to_string(index=False))
    draw(table, chosen.preemptions, Path(chosen.results))
