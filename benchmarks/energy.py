"""`python -m benchmarks energy`: hyperspherical energy in blocks against all pairs at once.

A weight of `--width` neurons of as many features (default 4096), each form in a process of its own so
that its peak memory is its own. Writes results/benchmark/energy.csv.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from benchmarks.command import command_parser
from study.training.geometry import hyperspherical_energy


def all_pairs(weight: Tensor) -> float:
    """The plain form: every pair of neurons at once, by torch.cdist."""
    weight = weight.double()
    neurons = weight / weight.norm(dim=1, keepdim=True)
    distances = torch.cdist(neurons, neurons)
    apart = ~torch.eye(len(weight), dtype=torch.bool)
    return (1 / distances[apart]).mean().item()


FORMS = {"blockwise": lambda weight: hyperspherical_energy(weight)[0], "torch.cdist": all_pairs}


def measure(form: str, width: int) -> dict[str, float]:
    """One form in this process: its value, seconds, and the memory it added to the process's peak."""
    torch.manual_seed(0)
    weight = torch.randn(width, width)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    energy = FORMS[form](weight)
    seconds = time.perf_counter() - start
    added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"energy": energy, "seconds": seconds, "added_peak_mb": added / 1024}


def main(arguments: list[str]) -> None:
    parser = command_parser("benchmarks energy", __doc__, results="results/benchmark")
    parser.add_argument("--width", type=int, default=4096)
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.form:
        print(json.dumps(measure(chosen.form, chosen.width)))
        return
    rows = []
    for form in FORMS:
        command = [sys.executable, "-m", "benchmarks", "energy", "--form", form]
        answer = subprocess.run(
            [*command, "--width", str(chosen.width)], check=True, capture_output=True, text=True
        )
        rows.append({"form": form, "width": chosen.width, **json.loads(answer.stdout)})
    table = pd.DataFrame(rows)
    Path(chosen.results).mkdir(parents=True, exist_ok=True)
    table.to_csv(Path(chosen.results) / "energy.csv", index=False)
    print(table.to_string(index=False))
