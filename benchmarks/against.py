"""`python -m benchmarks against REVISION`: the speed of this checkout against that of another commit.

Both work in turns on one thread each, a process per checkout, so that a machine that slows down slows
both alike. Medians of CPU time, in results/benchmark/ (`--results` for another place):

    against          a pack of each method and task: milliseconds per run of a training step, over the bare
                     frozen model's, of an evaluation and of a measurement of geometry; shares of a run; and
                     its training and evaluation, sampling included, over what the bare model would take
    against_layers   a training step of one adapted layer outside any pack, over the bare layer's

What only one of the two has is left empty for the other.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.command import command_parser
from study.errors import UsageError

ROOT = Path(__file__).resolve().parent.parent
METHODS = ("lora", "naive", "ether", "ether_plus", "oft")
BLOCKS = (1, 4, 8, 16, 32)
OFT_WIDTH = 32
"""Of the blocks of OFT, ours and that of `peft`."""
WIDTHS = (768, 2048, 4096)
LAYER_STEPS = 5
FROZEN = "the bare model"

Answer = dict[str, Any]


def layers(width: int) -> list[tuple[str, dict[str, int]]]:
    """The methods and options that are timed on one layer."""
    return [
        ("lora", {"r": 8}),
        *(("ether", {"blocks": n}) for n in BLOCKS),
        *(("ether_plus", {"blocks": n}) for n in BLOCKS),
        ("oft", {"blocks": width // OFT_WIDTH}),
        ("peft:oft", {"oft_block_size": OFT_WIDTH}),
    ]


class Checkout:
    """A process that answers what a checkout's code costs.

    Args:
        folder: the checkout.
        name: what it is called in the tables.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        environment = os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", str(ROOT / "benchmarks" / "against_worker.py")]
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def ask(self, **question: Any) -> Answer:
        """The worker's answer; `error` in it if this checkout cannot do what is asked.

        Raises:
            RuntimeError: if the process has ended.
        """
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            with contextlib.suppress(json.JSONDecodeError):  # what libraries print
                answer = json.loads(line)
                if isinstance(answer, dict):
                    return answer
        raise RuntimeError(f"the process of {self.name} ended with code {self._process.wait()}")

    def close(self) -> None:
        self._process.communicate()


@contextlib.contextmanager
def checkout_of(revision: str) -> Iterator[Path]:
    """A folder with that commit's files, for as long as it is needed.

    Raises:
        UsageError: if git knows no such commit.
    """
    with tempfile.TemporaryDirectory() as parent:
        command = ["git", "-C", str(ROOT), "archive", "--format=tar", revision]
        archive = subprocess.run(command, capture_output=True, check=False)
        if archive.returncode:
            raise UsageError(f"against {revision}: {archive.stderr.decode().strip().splitlines()[-1]}")
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(parent, filter="data")
        yield Path(parent)


def in_turns(questions: Mapping[str, tuple[Checkout, Answer]], rounds: int) -> dict[str, Answer]:
    """Medians of the answers to each question, all asked once per round; without those that have none."""
    answers: dict[str, list[Answer]] = {name: [] for name in questions}
    for round_ in range(1 + rounds):
        for name, (checkout, question) in questions.items():
            answer = checkout.ask(**question, turn=round_)
            if round_:  # the first warms up
                answers[name].append(answer)
    medians = {}
    for name, given in answers.items():
        if error := next((answer["error"] for answer in given if "error" in answer), None):
            print(f"{name} cannot do {questions[name][1]}: {error}", flush=True)
        else:
            medians[name] = {key: statistics.median(each[key] for each in given) for key in given[0]}
    return medians


def pack_rows(checkouts: Sequence[Checkout], task: str, size: int, rounds: int) -> list[Answer]:
    """A row per method and checkout, the first checkout being this one, whose frozen model is the limit."""
    rows = []
    of_task = {"task": task, "size": size}
    for method in METHODS:
        pack = of_task | {"ask": "pack", "method": method}
        questions = {FROZEN: (checkouts[0], of_task | {"ask": "frozen"})}
        found = in_turns(questions | {each.name: (each, pack) for each in checkouts}, rounds)
        frozen = found.pop(FROZEN)
        for name, costs in found.items():
            points = costs["evaluations"] + 1
            evaluations = points + costs["test_over_valid"]
            seconds = {
                "training": costs["steps"] * costs["step"],
                "evaluation": evaluations * costs["evaluation"],
                "geometry": points * costs["geometry"],
            }
            limit = costs["steps"] * frozen["step"] + evaluations * frozen["evaluation"]
            row: Answer = {"task": task, "method": method, "revision": name, "pack_size": size}
            row |= {f"{kind}_ms": 1e3 * costs[kind] for kind in ("step", "evaluation", "geometry")}
            row |= {"over_frozen": costs["step"] / frozen["step"]}
            row |= {"run_over_frozen": (seconds["training"] + seconds["evaluation"]) / limit}
            row |= {f"{kind}_share": value / sum(seconds.values()) for kind, value in seconds.items()}
            row |= {"seconds_per_run": sum(seconds.values())}
            rows.append(row)
        print(pd.DataFrame(rows[-len(found) :]).round(3).to_string(index=False), flush=True)
    return rows


def layer_rows(checkouts: Sequence[Checkout], width: int, rounds: int) -> list[Answer]:
    """A row per method and checkout, over the bare layer that it takes turns with."""
    rows = []
    for method, options in layers(width):
        question = {"method": method, "options": options, "width": width, "steps": LAYER_STEPS}
        questions = {each.name: (each, question | {"ask": "layer"}) for each in checkouts}
        for name, costs in in_turns(questions, rounds).items():
            row: Answer = {"width": width, "method": method, "options": json.dumps(options), "revision": name}
            row |= {"frozen_ms": 1e3 * costs["frozen"], "step_ms": 1e3 * costs["step"]}
            rows.append(row | {"over_frozen": costs["over_frozen"]})
    return rows


def circumstances() -> dict[str, str]:
    """When and on what the measurements were made."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": f"{len(models) or os.cpu_count()} x {models[0] if models else platform.processor()}",
        "torch": torch.__version__,
    }


def main(arguments: list[str]) -> None:
    parser = command_parser("benchmarks against", __doc__, results="results/benchmark")
    parser.add_argument("revision", help="a commit of this repository")
    parser.add_argument("--tasks", nargs="*", default=["vtab", "glue", "instruct", "s2i"], help="miniatures")
    parser.add_argument("--size", type=int, default=9, help="runs of a pack (default 9)")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each (default 5)")
    parser.add_argument("--widths", type=int, nargs="*", default=list(WIDTHS), help="of single layers")
    chosen = parser.parse_args(arguments)
    folder = Path(chosen.results)
    folder.mkdir(parents=True, exist_ok=True)
    with checkout_of(chosen.revision) as other, contextlib.ExitStack() as closing:
        checkouts = [Checkout(ROOT, "this"), Checkout(other, chosen.revision)]
        for checkout in checkouts:
            closing.callback(checkout.close)
        rounds = chosen.rounds
        packs = [row for task in chosen.tasks for row in pack_rows(checkouts, task, chosen.size, rounds)]
        layers = [row for width in chosen.widths for row in layer_rows(checkouts, width, rounds)]
    for name, rows in (("against", packs), ("against_layers", layers)):
        if rows:
            table = pd.DataFrame(rows).assign(**circumstances())
            table.to_csv(folder / f"{name}.csv", index=False)
            print(table.drop(columns=list(circumstances())).round(3).to_string(index=False))
