"""What is done to sweeps on a cluster: each case has nodes of its own, so that all run side by side."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from slurm.cluster import Cluster
from slurm.sweep import TEN, TWENTY, Sweep

PARTITIONS: dict[str, tuple[list[int], str]] = {
    "two": ([1, 2], "Default=YES"),
    "usr2": ([3], ""),
    "requeue": ([4], ""),
    "low": ([5], "PriorityTier=1"),
    "high": ([5], "PriorityTier=10"),
    "limit": ([6], ""),
    "cancel": ([7], ""),
    "kill": ([8], ""),
    "cut": ([9, 10], ""),
    "held": ([11], ""),
    "detached": ([12], ""),
    "contract": ([13], ""),
}


def two_nodes(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "two", TWENTY, slow=0.05)
    sweep.ended()
    return sweep


def usr2(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "usr2", TEN)
    cluster.ask("scancel", "--signal=USR2", sweep.training_task())
    sweep.ended()
    return sweep


def requeued(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "requeue", TEN)
    cluster.ask("scontrol", "requeue", sweep.training_task())
    sweep.ended()
    return sweep


def preempted(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "low", TEN)
    sweep.training_task()
    cluster.ask("sbatch", "-p", "high", "-c", "2", "--gres=gpu:1", "-o", "/dev/null", "--wrap", "sleep 5")
    sweep.ended()
    return sweep


def time_limit(cluster: Cluster, folder: Path) -> Sweep:
    sweep = Sweep(cluster, folder, "limit", [*TEN, "seeds=1", "launcher.timeout_min=2"], slow=1.2)
    sweep.ended(900)  # two tasks, or three where their starts are slow
    return sweep


def cancelled(cluster: Cluster, folder: Path) -> Sweep:
    partition = "cancel" if "cancel" in cluster.partitions else "two"
    sweep = Sweep(cluster, folder, partition, TEN)
    return _hit(sweep, lambda task: cluster.ask("scancel", task))


def killed(cluster: Cluster, folder: Path) -> Sweep:
    def kill(task: str) -> None:
        own = f"SLURM_ARRAY_TASK_ID={task.split('_')[1]}\0".encode()
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command, environment = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes()
            except OSError:
                continue
            ours = b"submitit.core._submit" in command and str(sweep.study).encode() in command
            if ours and b"python" in command.split(b"\0")[0] and own in environment:
                os.kill(int(entry.name), 9)

    partition = "kill" if "kill" in cluster.partitions else "two"
    sweep = Sweep(cluster, folder, partition, TEN)
    return _hit(sweep, kill)


def _hit(sweep: Sweep, blow: Callable[[str], object]) -> Sweep:
    """One task is ended from outside: reported within 60 s, the other one finishes; then the rest is done."""
    task = sweep.training_task()
    blow(task)
    sweep.reported_after = sweep.until(lambda: "have no result" in sweep.text(), "the report", 60)
    sweep.first_code = sweep.ended()
    sweep.status = sweep.ask_status()
    sweep.records_before = {p.name: p.read_bytes() for p in (sweep.study / "records").iterdir()}
    sweep.start()
    sweep.ended()
    return sweep


def cut_off(cluster: Cluster, folder: Path) -> Sweep:
    """A node's slurmd is killed; its task lives on while Slurm gives the job to the other node."""
    sweep = Sweep(cluster, folder, "cut", [*TEN, "seeds=1"], slow=4.0)
    task = sweep.training_task()
    node = cluster.ask("squeue", "-h", "-j", task, "-o", "%N").stdout.strip()
    cluster.kill(f"slurmd-{node.removeprefix('gpu')}")
    sweep.until(lambda: list(sweep.study.glob("checkpoints/*/attempt-2")), "the other node's task")
    sweep.pace.write_text("0.3")  # both train now; the first one notices when it saves next
    sweep.ended()
    cluster.start_node(int(node.removeprefix("gpu")))
    return sweep


def held(cluster: Cluster, folder: Path) -> Sweep:
    arguments = [*TEN, "seeds=1", "launcher.additional_parameters.hold=true"]
    sweep = Sweep(cluster, folder, "held", arguments, slow=0.0)
    for _ in range(2):  # the probe, then the pack
        before = sweep.text().count("held: ")
        sweep.reported_after = sweep.until(  # the second time the probe's own run is in it
            lambda before=before: sweep.text().count("held: ") > before, "the reason"
        )
        sweep.status = sweep.ask_status()
        queued = cluster.ask("squeue", "-h", "-r", "-p", "held", "-o", "%i").stdout.split()
        cluster.ask("scontrol", "release", *queued)
    sweep.ended()
    return sweep


def detached(cluster: Cluster, folder: Path) -> Sweep:
    """Submit and return, twice (the probe, the packs); the code may change meanwhile; then collect."""
    sweep = Sweep(cluster, folder, "detached", [*TEN, "detach=true"], slow=0.0)
    assert sweep.ended() == 0
    sweep.until(lambda: list(sweep.study.glob("slurm/*/answers/0.json")), "the probe's answer")
    sweep.start()
    assert sweep.ended() == 0, sweep.text()
    sweep.until(lambda: len(list(sweep.study.glob("records/*.json"))) == 2, "the records")
    sweep.start()
    sweep.ended()
    return sweep


CASES = {f.__name__: f for f in (
    two_nodes, usr2, requeued, preempted, time_limit, cancelled, killed, cut_off, held, detached
)}  # fmt: skip
ACCOUNTED = {"cancelled": cancelled, "killed": killed}
