"""`python -m study.status NAME`: how a study stands, from its files and squeue, on any login node.

It changes nothing and needs no lock; torch is not imported.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from study import launchers
from study.cli.arguments import Arguments, Command
from study.cli.studies import RESULTS, existing_study
from study.coordination.plan_file import Plan, PlannedPack, read_plan
from study.launchers import JobState
from study.planning.costs import makespan
from study.planning.jobs import train_key
from study.storage import checkpoints, lock, records
from study.storage.checkpoints import Progress

COMMAND = Command(
    module="study.status",
    name="NAME_OR_FOLDER",
    about="""
Says how the study in FOLDER/NAME stands (default results/NAME): runs done, running and waiting; what
failed, diverged, was begun again; Slurm's tasks, their time left, and why any of them is held.
""",
    keys={"results": RESULTS},
    exit=[("", "0 the study's state is printed, 2 there is no such study")],
)


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, show)


def show(arguments: Arguments) -> int:
    """Prints how the study stands. Raises UsageError if there is none."""
    print(status(existing_study(arguments.names[0], arguments.keys["results"], "plan.json")))
    return 0


def status(folder: Path) -> str:
    """How the study stands, in lines.

    Raises:
        UsageError: if the plan cannot be read.
    """
    plan = read_plan(folder)
    assert plan is not None
    statuses = records.statuses(folder)
    left = [unfinished for pack in plan.packs if (unfinished := pack.without(statuses))]
    begun = checkpoints.unfinished_packs(folder)
    keys = {pack: train_key(pack.pack_id) for pack in left}
    sighting = launchers.watch_all(plan.settings.launcher, folder, set(keys.values()))
    holder = lock.holder(folder)

    def is_running(pack: PlannedPack) -> bool:
        if job := sighting.jobs.get(keys[pack]):
            return job.running
        return bool(holder) and pack.pack_id in begun

    running = [pack for pack in left if is_running(pack)]
    steps = plan.settings.task.steps
    return "\n".join(
        [
            f"{folder}: {_counts(plan, statuses, running, left)}",
            f"  {f'worked on by {holder}' if holder else NOBODY if left else 'complete'}",
            *(f"  {remark}" for remark in sighting.remarks),
            *_begun_again(begun),
            *(_line(pack, begun.get(pack.pack_id), sighting.jobs.get(keys[pack]), steps) for pack in running),
            *_time_left(left, plan),
        ]
    )


NOBODY = "no coordinator: the sweep's command attaches or goes on"


def _counts(
    plan: Plan, statuses: Mapping[str, str], running: list[PlannedPack], left: list[PlannedPack]
) -> str:
    planned = plan.run_ids
    counts = Counter(status for run_id, status in statuses.items() if run_id in planned)
    now = sum(len(pack.run_ids) for pack in running)
    waiting = sum(len(pack.run_ids) for pack in left) - now
    ended = ", ".join(f"{counts[name]} {name}" for name in ("ok", "diverged", "failed"))
    return f"{counts.total()} of {len(planned)} runs done: {ended}; {now} running, {waiting} waiting"


def _begun_again(begun: Mapping[str, Progress]) -> list[str]:
    again = [progress.attempts for progress in begun.values() if progress.attempts > 1]
    if not again:
        return []
    return [f"  requeued or begun again: {len(again)} packs, {sum(again) - len(again)} times"]


def _line(pack: PlannedPack, progress: Progress | None, job: JobState | None, steps: int) -> str:
    attempts, step = (progress.attempts, progress.step) if progress else (1, 0)
    where = f"{job.where}: " if job else ""
    at = f", at step {step} or later of {steps}" if step else ""
    again = f", attempt {attempts}" if attempts > 1 else ""
    return f"  {where}{pack.title}, {len(pack.run_ids)} runs{at}{again}"


def _time_left(left: list[PlannedPack], plan: Plan) -> list[str]:
    if not left:
        return []
    seconds = makespan([pack.seconds for pack in left], plan.workers)
    return [f"  about {seconds:.0f} s of training left on {plan.workers} workers"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
