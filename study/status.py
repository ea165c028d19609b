"""`python -m study.status NAME`: how a study stands, from its files and squeue, on any login node.

It changes nothing and needs no lock; torch is not imported.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

from study.cli import commands
from study.coordination.coordinator import read_plan
from study.errors import UsageError, nearest
from study.launchers import squeue
from study.launchers.slurm import Queue, batch_name, key_of
from study.planning.runs import digest, makespan
from study.storage import checkpoints, lock, records

HELP = """\
usage: python -m study.status NAME [results=FOLDER]

Says how the study in FOLDER/NAME stands (default results/NAME): runs done, running and waiting; what
failed, diverged, was begun again; Slurm's tasks, their time left, and why any of them is held.
"""


def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP)
        return 0 if arguments else 2

    def show() -> int:
        print(status(_folder(arguments)))
        return 0

    return commands.run(show, f"python -m study.status {arguments[0]}")


def _folder(arguments: list[str]) -> Path:
    name, *overrides = arguments
    for override in overrides:
        if not override.startswith("results="):
            raise UsageError(f"{override!r}: only results=FOLDER can follow the name")
    results = Path(overrides[-1].removeprefix("results=") if overrides else "results")
    if not (results / name / "plan.json").exists():
        known = sorted(path.parent.name for path in results.glob("*/plan.json"))
        hint = nearest(name, known) if known else f"{results} holds no study yet"
        raise UsageError(f"no study {results / name}; {hint}")
    return results / name


def status(folder: Path) -> str:
    """How the study stands, in lines.

    Raises:
        UsageError: if the plan cannot be read.
    """
    plan = read_plan(folder)
    assert plan is not None
    done = records.statuses(folder)
    left = [
        _Pack(missing, title, seconds * len(missing) / len(pack))
        for pack, title, seconds in zip(plan["packs"], plan["titles"], plan["seconds"], strict=True)
        if (missing := [run_id for run_id in pack if run_id not in done])
    ]
    begun = checkpoints.packs(folder)
    tasks, slurm_words = _slurm_tasks(folder, {pack.key for pack in left})
    holder = lock.holder(folder)
    running = [
        pack
        for pack in left
        if (tasks[pack.key].state == "RUNNING" if pack.key in tasks else holder and pack.pack_id in begun)
    ]
    return "\n".join(
        [
            f"{folder}: {_counts(plan, done, running, left)}",
            f"  {f'worked on by {holder}' if holder else _NOBODY if left else 'complete'}",
            *slurm_words,
            *_again(begun),
            *(_line(pack, begun, tasks, plan["settings"]["task"]["steps"]) for pack in running),
            *_time_left(left, plan),
        ]
    )


class _Pack:
    """What is left of one pack of the plan."""

    def __init__(self, run_ids: list[str], title: str, seconds: float) -> None:
        self.runs, self.title, self.seconds = len(run_ids), title, seconds
        self.pack_id = digest(run_ids)
        self.key = key_of({"kind": "train", "pack_id": self.pack_id})


def _counts(plan: dict[str, Any], done: dict[str, str], running: list[_Pack], left: list[_Pack]) -> str:
    planned = {run_id for pack in plan["packs"] for run_id in pack}
    statuses = Counter(status for run_id, status in done.items() if run_id in planned)
    now = sum(pack.runs for pack in running)
    waiting = sum(pack.runs for pack in left) - now
    ended = ", ".join(f"{statuses[name]} {name}" for name in ("ok", "diverged", "failed"))
    return f"{statuses.total()} of {len(planned)} runs done: {ended}; {now} running, {waiting} waiting"


_NOBODY = "no coordinator: the sweep's command attaches or goes on"


def _slurm_tasks(folder: Path, wanted: set[str]) -> tuple[dict[str, squeue.Task], list[str]]:
    """Living tasks by the key of their job, and what there is to say of them and of those that were lost.

    Args:
        wanted: keys of the jobs whose packs are not done.
    """
    batches = Queue.batches_in(folder)
    try:
        listed = squeue.tasks([batch_name(batch) for batch in batches])
    except squeue.SlurmAway as error:
        return {}, [f"  Slurm: {error}"]
    keys = {batch_name(batch): own for batch, own in batches.items()}
    by_key = [(keys[task.name][task.index], task) for task in listed]
    tasks = {key: task for key, task in by_key if task.live}
    lost = {key: task for key, task in by_key if key in wanted - tasks.keys()}
    words = [f"  held: {task.job_id} {task.held}" for task in tasks.values() if task.held]
    words += [f"  lost: {task.job_id} {squeue.cause(task, task.job_id)}" for task in lost.values()]
    if tasks:
        states = Counter(task.state.lower() for task in tasks.values())
        words.insert(0, f"  Slurm tasks: {', '.join(f'{n} {state}' for state, n in states.items())}")
    return tasks, words


def _again(begun: dict[str, tuple[int, int]]) -> list[str]:
    again = [attempts for attempts, _ in begun.values() if attempts > 1]
    return (
        [f"  requeued or begun again: {len(again)} packs, {sum(again) - len(again)} times"] if again else []
    )


def _line(pack: _Pack, begun: dict[str, tuple[int, int]], tasks: dict[str, squeue.Task], steps: int) -> str:
    attempts, step = begun.get(pack.pack_id, (1, 0))
    task = tasks.get(pack.key)
    where = f"{task.job_id} on {task.node}, {task.left} left: " if task else ""
    at = f", at step {step} or later of {steps}" if step else ""
    return f"  {where}{pack.title}, {pack.runs} runs{at}{f', attempt {attempts}' if attempts > 1 else ''}"


def _time_left(left: list[_Pack], plan: dict[str, Any]) -> list[str]:
    if not left:
        return []
    seconds = makespan([pack.seconds for pack in left], plan["workers"])
    return [f"  about {seconds:.0f} s of training left on {plan['workers']} workers"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
