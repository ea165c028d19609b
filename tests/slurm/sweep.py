"""One sweep on a cluster, started, watched, interrupted and compared."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from slurm.cluster import Cluster
from support.paths import FAULTS_HERE

from study.launchers.cluster.batches import batch_name
from study.storage.schema import CIRCUMSTANCES


def last_wins(arguments: list[str]) -> list[str]:
    """The arguments with each key once, as commands want them."""
    return list({argument.partition("=")[0]: argument for argument in arguments}.values())


TWENTY = [
    "lr_grid", "method=ether,lora", "lr=1e-4,1e-3,1e-2,1e-1,1", "seeds=2", "pack_size=5", "task.steps=100",
    "task.evaluations=2", "report=false", "name=study", "checkpoint_s=2", "launcher.device=cpu",
]  # fmt: skip
TEN = last_wins([*TWENTY, "method=ether"])
INTERVAL_S = 2.0


def study_on_this_machine(folder: Path, arguments: list[str]) -> Path:
    """The same sweep without Slurm, with one thread as on the nodes."""
    subprocess.run(
        [sys.executable, "-m", "study.sweep", *arguments, "launcher.workers=2"], cwd=folder, check=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"}, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    return folder / "results" / "study"


def table(study: Path, name: str = "runs") -> pd.DataFrame:
    beside = [*CIRCUMSTANCES, "git_sha", "git_dirty"]  # the checkout may change while these tests run
    return pd.read_parquet(study / f"{name}.parquet").drop(columns=beside, errors="ignore")


def same_tables(study: Path, expected: Path) -> None:
    for name in ("runs", "history", "layers"):
        found, wanted = table(study, name), table(expected, name)
        wanted = wanted[wanted.run_id.isin(found.run_id)].reset_index(drop=True)
        columns = [c for c in wanted.columns if not wanted[c].isna().all() or c in found.columns]
        pd.testing.assert_frame_equal(found[columns], wanted[columns], check_exact=True, check_dtype=False)


@dataclass
class Sweep:
    """One sweep command on a cluster, in a folder of its own."""

    cluster: Cluster
    folder: Path
    partition: str
    arguments: list[str]
    slow: float = 0.15
    """Seconds that a training step takes longer, at first."""

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True)
        self.study = self.folder / "results" / "study"
        self.steps, self.pace = self.folder / "steps", self.folder / "pace"
        self.pace.write_text(str(self.slow))
        self.environment = self.cluster.environment | {
            "PYTHONPATH": FAULTS_HERE, "STUDY_FAULTS": f"slow:{self.pace}", "STUDY_STEPS": str(self.steps),
            "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        self.output = self.folder / "output"
        self.start()

    def start(self, *more: str) -> None:
        own = ["launcher=slurm", f"launcher.partition={self.partition}"]
        arguments = last_wins([*self.arguments, *own, *more])
        self.began = time.monotonic()
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                self.command(arguments),
                cwd=self.folder, env=self.environment, stdout=output, stderr=output,
            )  # fmt: skip

    def command(self, arguments: list[str]) -> list[str]:
        return [sys.executable, "-m", "study.sweep", *arguments]

    def batches(self) -> list[str]:
        """The names in Slurm of what was submitted."""
        return [batch_name(path.parent.name) for path in self.study.glob("slurm/*/batch.json")]

    def text(self) -> str:
        return self.output.read_text(errors="replace")

    def until(self, ready: Callable[[], object], what: str, seconds: float = 300) -> float:
        """Waits; returns how long it took."""
        began = time.monotonic()
        while not ready():
            if time.monotonic() - began > seconds:
                queue = self.cluster.ask("squeue", "-o", "%i %j %P %T %r %N").stdout
                logs = "".join(p.read_text(errors="replace")[-1500:] for p in self.study.rglob("*_log.err"))
                raise TimeoutError(f"{what}: not within {seconds} s\n{self.text()}\n{queue}\n{logs}")
            time.sleep(0.25)
        return time.monotonic() - began

    def ask_status(self) -> str:
        command = [sys.executable, "-m", "study.status", "study"]
        return subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        ).stdout

    def ended(self, seconds: float = 600) -> int:
        self.until(lambda: self.process.poll() is not None, "the sweep's end", seconds)
        assert self.process.returncode is not None
        return self.process.returncode

    def training_task(self) -> str:
        """Waits until a pack has a checkpoint and is not nearly done; gives its task's id."""
        self.until(lambda: list(self.study.glob("checkpoints/*/*.checkpoint")), "a checkpoint")
        names = ",".join(self.batches())
        running = self.cluster.ask("squeue", "-h", "-r", "-n", names, "-t", "R", "-o", "%i")
        return running.stdout.split()[0]

    def again(self) -> tuple[int, float]:
        """Steps trained more than once, and the longest time that was repeated at once, in seconds."""
        seen: dict[str, dict[int, float]] = {}
        repeated, longest, first = 0, 0.0, 0.0
        for line in self.steps.read_text().splitlines():
            *pack, step, at = line.split()
            own = seen.setdefault(" ".join(pack), {})
            if int(step) in own:
                first = first or own[int(step)]
                repeated, longest = repeated + 1, max(longest, own[int(step)] - first)
            else:
                first = 0.0
            own[int(step)] = float(at)
        return repeated, longest

    def finishes_like(self, expected: Path) -> None:
        code = self.ended()
        assert code == 0, self.text()
        same_tables(self.study, expected)
