"""`python -m benchmarks gpu`: what a training step of Llama-2-7B costs on a GPU, alone and in packs.

The full architecture with random weights in bfloat16, adapters on q and v, 256 random tokens a row, and real
training steps, whose work depends on neither weights nor tokens. `--small` does it with a
tiny Llama, on a GPU or without one. Leaves a figure and a CSV, written after every row, in `--out`:

    cuda_graphs        whether steps are recorded and replayed, as in studies on a GPU
    estimate_mb        what the planner foretells of peak_mb, from shapes alone (MB: 2^20 bytes)
    seconds            of a step of the whole pack, median of `--steps`; _low and _high: least and most
    peak_mb            most memory that tensors held at a time, the weights among them
    device_mb          what the device had in use at the end: torch's cache, contexts, other processes too
    seconds_per_run    seconds over the runs in the pack
    tokens_per_second  of all runs together
    over_frozen        seconds over those of the bare model on as many rows, forward and backward
    gain               how many times as fast the runs are as one after the other: needs a pack of 1
    note               `out of memory`: larger packs are then not tried

Without a GPU peak_mb is counted by `study.training.memory.Peak`, and there is no device_mb.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import math
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from matplotlib.ticker import LogFormatter, NullLocator
from torch import Tensor
from transformers import LlamaConfig

from analysis.figures.style import REFERENCE, figure_style, legend_beside, method_styles, panels, save
from analysis.paper.accounting.architectures import llama_2_7b
from analysis.paper.accounting.compute import LLAMA_TOKENS
from analysis.paper.accounting.sides import TARGETS
from benchmarks.command import command_parser
from benchmarks.random_tokens import TINY, TINY_TOKENS, RandomTokens, build
from study import methods
from study.errors import UsageError
from study.storage.provenance import provenance
from study.tasks import Batch, Task
from study.training.hyperparameters import Hyperparameters
from study.training.memory import Peak, estimate
from study.training.passes import autocast, stack_runs
from study.training.probe import WARM_STEPS, is_out_of_memory
from study.training.recorded_passes import record_cuda_graph
from study.training.train import Training

MB = 2**20
FROZEN, MANY = "frozen", 32
STEPS_TO_RECORD = 3
"""One that shows that nothing is drawn, one that is recorded, and one that is checked."""


@dataclass(frozen=True)
class Case:
    """A method with its options, or the frozen model without any."""

    method: str
    options: dict[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        return " ".join([self.method, *(f"{key}={value}" for key, value in self.options.items())])

    def config(self) -> Any:
        return methods.config(self.method, self.options, TARGETS)


CASES = (
    Case(FROZEN),  # first, so that the others can be compared with it
    Case("lora", {"r": 8}),
    Case("oft", {"blocks": 256}),
    *(Case(method, {"blocks": blocks}) for method in ("ether", "ether_plus") for blocks in (1, MANY)),
)
METHODS = list(dict.fromkeys(case.method for case in CASES[1:]))


@contextlib.contextmanager
def stepping(
    task: Task, model: Any, case: Case, size: int, cuda_graphs: bool = False
) -> Iterator[Callable[[], object]]:
    """One training step of a fresh pack; of the frozen model, forward and backward on as many rows.

    Gradients of the frozen model reach its embeddings; those of adapters on q and v go nearly as far.
    """
    if case.method != FROZEN:
        runs = [Hyperparameters(1e-4, seed) for seed in range(size)]
        training = Training(task, model, case.config(), runs, cuda_graphs=cuda_graphs)
        try:
            yield training.train_step
        finally:
            training.close()
        return

    def new_batch() -> Batch:
        return stack_runs(task, [task.batch(seed, 0) for seed in range(size)], model.device)

    def passes(nothing: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        with autocast(task.settings, model.device):
            outputs = task.forward(model, batch)
        losses = task.losses(outputs, batch)
        losses.sum().backward()
        return losses.detach(), nothing

    model.enable_input_require_grads()
    try:
        nothing = torch.zeros(1, device=model.device)
        compute = record_cuda_graph(passes, nothing, new_batch()) if cuda_graphs else passes
        yield lambda: compute(nothing, new_batch())
    finally:
        model.disable_input_require_grads()


def measure(
    task: Task, model: Any, case: Case, size: int, steps: int, cuda_graphs: bool = False
) -> dict[str, float]:
    """Seconds and memory of a step, after warm-up, as columns of the table."""
    on_gpu = model.device.type == "cuda"
    synchronize = torch.cuda.synchronize if on_gpu else lambda: None
    if on_gpu:
        gc.collect()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    counted, seconds = Peak(), []
    with contextlib.ExitStack() as stack:
        with contextlib.nullcontext() if on_gpu else counted:  # counting is slow, so never while timing
            step = stack.enter_context(stepping(task, model, case, size, cuda_graphs))
            for _ in range(WARM_STEPS + STEPS_TO_RECORD * cuda_graphs):
                step()
        for _ in range(steps):
            synchronize()
            start = time.perf_counter()
            step()
            synchronize()
            seconds.append(time.perf_counter() - start)
    timed = {"seconds": statistics.median(seconds), "seconds_low": min(seconds), "seconds_high": max(seconds)}
    if on_gpu:
        free, total = torch.cuda.mem_get_info()
        return timed | {"peak_mb": torch.cuda.max_memory_allocated() / MB, "device_mb": (total - free) / MB}
    weights = sum(parameter.nbytes for parameter in model.parameters())
    return timed | {"peak_mb": (weights + counted.highest) / MB}


def measure_all(
    config: LlamaConfig, length: int, device: torch.device, chosen: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """The rows of the table, one after the other."""
    model, graphs = None, chosen.cuda_graphs and device.type == "cuda"
    for batch_size in chosen.batch_sizes:
        task = RandomTokens(config, length, batch_size)
        frozen: dict[int, float] = {}
        alone: dict[str, float] = {}
        for case in [case for case in CASES if case.method in (FROZEN, *chosen.methods)]:
            shapes = build(task, torch.device("meta"))
            needs = estimate(task, shapes, case.config()) if case.method != FROZEN else None
            for size in sorted(set(chosen.packs)):
                row: dict[str, Any] = {"case": case.label, "method": case.method, "length": length}
                row |= {"batch_size": batch_size, "pack_size": size, "note": "", "cuda_graphs": graphs}
                row["estimate_mb"] = needs.pack_mb(size) if needs else math.nan
                try:
                    model = model or build(task, device)
                    row |= measure(task, model, case, size, chosen.steps, graphs)
                except Exception as error:
                    if not is_out_of_memory(error):
                        raise
                    row["note"] = "out of memory"
                seconds = row.get("seconds", math.nan)
                if case.method == FROZEN:
                    frozen[size] = seconds
                if size == 1:
                    alone[case.label] = seconds
                row["seconds_per_run"] = seconds / size
                row["tokens_per_second"] = size * batch_size * length / seconds
                row["over_frozen"] = seconds / frozen.get(size, math.nan)
                row["gain"] = size * alone.get(case.label, math.nan) / seconds
                yield row
                if row["note"]:
                    model = None  # it may have been left with adapters in it
                    gc.collect()
                    break


def surroundings(device: torch.device) -> dict[str, object]:
    """Columns that say when, on what and with what it was measured."""
    name, driver = device.type, ""
    if device.type == "cuda":
        name = torch.cuda.get_device_name()
        command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        with contextlib.suppress(OSError):
            driver = subprocess.run(command, capture_output=True, text=True).stdout.partition("\n")[0]
    date = datetime.now(UTC).isoformat(timespec="seconds")
    return {"date": date, "device": name, "driver": driver, **vars(provenance())}


@figure_style()
def draw(table: pd.DataFrame, folder: Path, name: str) -> None:
    """Time per run and step against pack size, a panel per batch size; many blocks are dotted."""
    batches = list(table["batch_size"].unique())
    figure, flat = panels(len(batches), columns=2, width=3.6, height=3.2)
    styles = method_styles(METHODS, {method: method for method in METHODS})
    for axes, batch_size in zip(flat, batches, strict=True):
        for case in CASES:
            line = table[(table["case"] == case.label) & (table["batch_size"] == batch_size)]
            options: dict[str, Any] = {"color": REFERENCE, "ls": "--", "label": "frozen model"}
            if case.method != FROZEN:
                style = styles[case.method]
                options = {"color": style.colour, "marker": style.marker}
                options |= {"ls": ":" if case.options.get("blocks") == MANY else "-"}
                options |= {"label": style.name + case.label.removeprefix(case.method)}
            if len(line):
                axes.plot(line["pack_size"], 1000 * line["seconds_per_run"], **options)
        axes.set(xscale="log", yscale="log", xlabel="runs in a pack", title=f"batch size {batch_size}")
        axes.xaxis.set_ticks(sorted(table["pack_size"].unique()))
        axes.xaxis.set_minor_locator(NullLocator())
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(LogFormatter())
    flat[0].set_ylabel("ms per run and step")
    legend_beside(flat[-1])
    save(figure, table, folder, name)


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = command_parser("benchmarks gpu", __doc__)
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=METHODS, help="default: all")
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[1], help="default: 1")
    parser.add_argument(
        "--packs", nargs="+", type=int, default=[1, 2, 4, 8, 16, 32], help="default: 1 2 ... 32"
    )
    parser.add_argument("--no-graphs", dest="cuda_graphs", action="store_false", help="launch every kernel")
    parser.add_argument("--steps", type=int, default=7, help="timed steps of each (default 7)")
    parser.add_argument("--small", action="store_true", help="a tiny Llama, on the CPU if there is no GPU")
    parser.add_argument("--out", help="folder (default results/gpu, with --small results/benchmark)")
    chosen = parser.parse_args(arguments)
    if min(*chosen.batch_sizes, *chosen.packs, chosen.steps) < 1:
        raise UsageError("--batch-sizes, --packs and --steps must be 1 or more")
    if not (chosen.small or torch.cuda.is_available()):
        raise UsageError("there is no GPU for Llama-2-7B; --small does the same with a tiny Llama on the CPU")
    return chosen


def main(arguments: list[str]) -> None:
    chosen = parse(arguments)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    config: Any = llama_2_7b().config
    length, name, default_folder = LLAMA_TOKENS, "llama_2_7b", "results/gpu"
    if chosen.small:
        config, length, name, default_folder = TINY, TINY_TOKENS, "llama_tiny", "results/benchmark"
    folder = Path(chosen.out or default_folder)
    folder.mkdir(parents=True, exist_ok=True)
    shared, rows = surroundings(device), []
    for row in measure_all(config, length, device, chosen):
        rows.append(row | shared)
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False)
        line = f"{row['case']}, batch size {row['batch_size']}, {row['pack_size']} in a pack: "
        line += row["note"] or f"{1000 * row['seconds_per_run']:.4g} ms a run, {row['peak_mb']:,.0f} MB"
        print(line, flush=True)
    draw(pd.DataFrame(rows), folder, name)
