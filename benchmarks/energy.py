"""`python -m benchmarks energy`: hyperspherical energy in blocks against all pairs at once.

A weight of `--neurons` (default: as many as features) with `--width` features (default 4096), each form in a
process of its own so that its peak memory is its own. Writes results/benchmark/energy.csv.
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
from study.errors import UsageError
from study.training.geometry import hyperspherical_energy


def all_pairs(weight: Tensor) -> float:
    """The plain form: every pair of neurons at once, by torch.cdist."""
    weight = weight.double()
    neurons = weight / weight.norm(dim=1, keepdim=True)
    distances = torch.cdist(neurons, neurons)
    apart = ~torch.eye(len(weight), dtype=torch.bool, device=weight.device)
    return (1 / distances[apart]).mean().item()


FORMS = {"blockwise": lambda weight: hyperspherical_energy(weight)[0], "torch.cdist": all_pairs}


def measure(form: str, neurons: int, width: int, device: torch.device) -> dict[str, float]:
    """One form in this process: its value, seconds, and the memory it added to the device's peak."""
    torch.manual_seed(0)
    weight = torch.randn(neurons, width).to(device)
    FORMS[form](weight[:64])  # libraries are loaded at their first call
    before = _peak_mb(device)
    start = time.perf_counter()
    energy = FORMS[form](weight)
    seconds = time.perf_counter() - start
    return {"energy": energy, "seconds": seconds, "added_peak_mb": _peak_mb(device) - before}


def _peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _name(device: str) -> str:
    return torch.cuda.get_device_name() if device == "cuda" else device


def main(arguments: list[str]) -> None:
    parser = command_parser("benchmarks energy", __doc__, results="results/benchmark")
    parser.add_argument("--neurons", type=int, help="default: as many as features")
    parser.add_argument("--width", type=int, default=4096, help="features (default %(default)s)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu", help="default: cpu")
    parser.add_argument("--form", choices=FORMS, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    neurons = chosen.neurons or chosen.width
    if chosen.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device cuda: there is no GPU")
    if chosen.form:
        print(json.dumps(measure(chosen.form, neurons, chosen.width, torch.device(chosen.device))))
        return
    rows = []
    for form in FORMS:
        command = [sys.executable, "-m", "benchmarks", "energy", "--form", form, "--device", chosen.device]
        size = ["--neurons", str(neurons), "--width", str(chosen.width)]
        answer = subprocess.run([*command, *size], check=True, capture_output=True, text=True)
        row = {"form": form, "neurons": neurons, "width": chosen.width, "device": _name(chosen.device)}
        rows.append(row | json.loads(answer.stdout))
    table = pd.DataFrame(rows)
    Path(chosen.results).mkdir(parents=True, exist_ok=True)
    table.to_csv(Path(chosen.results) / "energy.csv", index=False)
    print(table.to_string(index=False))
