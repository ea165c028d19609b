"""`python -m study.status [NAME]`: which studies there are, or how one stands, from its files and squeue.

It changes nothing and needs no lock, on any login node; torch is not imported. With `--watch` it shows the
same live view as the sweep itself, of a study that runs in another terminal or on a cluster.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from study import launchers
from study.cli.arguments import SWITCH, Arguments, Command, Key
from study.cli.live import render
from study.cli.progress import is_terminal
from study.cli.studies import RESULTS, existing_study, studies_in
from study.coordination.plan_file import FILE, DamagedPlan, Plan, PlannedPack, read_plan
from study.errors import UsageError
from study.launchers import JobState, Sighting
from study.planning.jobs import train_key
from study.planning.progress import Outlook, PackLeft, PackProgress, Tally, seconds_left
from study.storage import checkpoints, lock, paused, records
from study.storage.checkpoints import Progress

COMMAND = Command(
    module="study.status",
    name="NAME_OR_FOLDER",
    optional=True,
    about="""
Without a name: the studies in FOLDER (default results), a line each. With one: how it stands, runs done,
running and waiting; what failed, diverged, was begun again; Slurm's tasks, their time left, and why any of
them is held.
""",
    keys={"watch": Key("the same live, until it is done, wherever it runs", SWITCH), "results": RESULTS},
    exit=[("", "0 the state is printed, 2 there is no such study, 130/143 after a signal")],
)

LOOK_S = 2.0
"""Seconds between two looks at a study that is watched."""


def main(arguments: list[str]) -> int:
    return COMMAND.run(arguments, show)


def show(arguments: Arguments) -> int:
    """Prints how the study stands, or which there are. Raises UsageError if there is none."""
    results, watched = arguments.keys["results"], arguments.keys["watch"] == SWITCH
    if not arguments.names:
        if watched:
            raise UsageError("--watch needs a study; python -m study.status lists them")
        print(listing(Path(results)))
        return 0
    folder = existing_study(arguments.names[0], results, FILE)
    if watched:
        watch(folder)
    print(status(folder))
    return 0


def listing(results: Path) -> str:
    """The studies in a folder, a line each, the one that was worked on last at the end.

    Raises:
        UsageError: if there is none.
    """
    folders = [path.parent for path in studies_in(results, FILE)]
    if not folders:
        raise UsageError(f"{results} holds no study yet; a sweep makes one: python -m study.sweep lr_grid")
    folders.sort(key=lambda folder: (folder / FILE).stat().st_mtime)
    rows = [(folder.relative_to(results).as_posix(), *_of_list(folder)) for folder in folders]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def _of_list(folder: Path) -> tuple[str, str, str]:
    """Task, runs, and who works on it or whether it is complete."""
    try:
        plan = read_plan(folder)
    except (DamagedPlan, UsageError) as error:
        return "", "", str(error)
    assert plan is not None
    task, planned = plan.settings.task, plan.run_ids
    counts = Counter(status for run_id, status in records.statuses(folder).items() if run_id in planned)
    accidents = [f"{counts[name]} {name}" for name in ("diverged", "failed") if counts[name]]
    runs = ", ".join([f"{counts.total()} of {len(planned)} runs", *accidents])
    holder = lock.holder(folder)
    state = (
        f"worked on by {holder}" if holder else "complete" if counts.total() == len(planned) else "stopped"
    )
    return f"{task.name} ({task.scale})", runs, state


@dataclass(frozen=True)
class Standing:
    """How a study stands at a moment.

    Attributes:
        statuses: of the runs that have a record, by run_id.
        paused: runs that wait at a rung until others have reached it, too.
        left: packs with runs that have none.
        begun: of those, how often they were begun, and the step of their last checkpoint.
        progress: how far they said they are.
        sighting: what the launchers know of their jobs.
        holder: who works on the study; empty if nobody does.
    """

    plan: Plan
    statuses: Mapping[str, str]
    paused: Collection[str]
    left: tuple[PlannedPack, ...]
    begun: Mapping[str, Progress]
    progress: Mapping[str, PackProgress]
    sighting: Sighting
    holder: str

    @classmethod
    def of(cls, folder: Path) -> Standing:
        """Raises UsageError if the plan cannot be read."""
        plan = read_plan(folder)
        assert plan is not None
        statuses = records.statuses(folder)
        arrived = {
            run_id
            for pack in plan.packs
            if pack.until
            for run_id in pack.run_ids
            if run_id not in statuses and paused.step(folder, run_id) >= pack.until
        }
        ended = statuses.keys() | arrived
        left = tuple(unfinished for pack in plan.packs if (unfinished := pack.without(ended)))
        keys = {train_key(pack.pack_id, pack.until) for pack in left}
        return cls(
            plan=plan,
            statuses={run_id: status for run_id, status in statuses.items() if run_id in plan.run_ids},
            paused=arrived,
            left=left,
            begun=checkpoints.unfinished_packs(folder),
            progress=checkpoints.progress_of_packs(folder),
            sighting=launchers.watch_all(plan.settings.launcher, folder, keys),
            holder=lock.holder(folder),
        )

    def job(self, pack: PlannedPack) -> JobState | None:
        return self.sighting.jobs.get(train_key(pack.pack_id, pack.until))

    def is_running(self, pack: PlannedPack) -> bool:
        if job := self.job(pack):
            return job.running
        return bool(self.holder) and pack.pack_id in self.begun

    @property
    def running(self) -> list[PlannedPack]:
        return [pack for pack in self.left if self.is_running(pack)]

    def packs_left(self) -> list[PackLeft]:
        """The packs left, with how far those in training have come."""
        return [self._pack_left(pack) for pack in self.left]

    def _pack_left(self, pack: PlannedPack) -> PackLeft:
        job = self.job(pack)
        progress = self.progress.get(pack.pack_id) if self.is_running(pack) else None
        steps = progress.steps if progress else self.plan.settings.task.steps
        where = job.where if job else ""
        return PackLeft(pack.title, len(pack.run_ids), steps, pack.seconds, progress, where)

    def outlook(self) -> Outlook:
        steps = self.plan.settings.task.steps
        tally = Tally(
            planned=len(self.plan.run_ids),
            run_steps_planned=len(self.plan.run_ids) * steps,
            run_steps=len(self.statuses) * steps,
            statuses=Counter(self.statuses.values()),
        )
        return tally.outlook(self.packs_left(), self.plan.workers)


def watch(folder: Path) -> None:
    """Shows the study live until all its runs have ended or nobody works on it any more.

    Elsewhere than on a terminal, a line whenever more runs have ended.

    Raises:
        UsageError: if the plan cannot be read.
    """
    if not is_terminal():
        ended = -1
        while True:
            standing = Standing.of(folder)
            if len(standing.statuses) != ended:
                ended = len(standing.statuses)
                print(_counts(standing), flush=True)
            if not _goes_on(standing):
                return
            time.sleep(LOOK_S)
    from rich.console import Console
    from rich.live import Live

    standing = Standing.of(folder)
    with Live(render(standing.outlook()), console=Console(stderr=True), transient=True) as live:
        while _goes_on(standing):
            time.sleep(LOOK_S)
            standing = Standing.of(folder)
            live.update(render(standing.outlook()), refresh=True)


def _goes_on(standing: Standing) -> bool:
    """Whether something can still change without a further command."""
    return bool(standing.left) and bool(standing.holder or standing.sighting.jobs)


def status(folder: Path) -> str:
    """How the study stands, in lines.

    Raises:
        UsageError: if the plan cannot be read.
    """
    standing = Standing.of(folder)
    left, holder = standing.left, standing.holder
    return "\n".join(
        [
            f"{folder}: {_counts(standing)}",
            f"  {f'worked on by {holder}' if holder else NOBODY if left else 'complete'}",
            *(f"  {remark}" for remark in standing.sighting.remarks),
            *_begun_again(standing.begun),
            *(_line(pack, standing) for pack in standing.running),
            *_time_left(standing),
        ]
    )


NOBODY = "no coordinator: the sweep's command attaches or goes on"


def _counts(standing: Standing) -> str:
    planned, counts = len(standing.plan.run_ids), Counter(standing.statuses.values())
    now = sum(len(pack.run_ids) for pack in standing.running)
    waiting = sum(len(pack.run_ids) for pack in standing.left) - now
    ended = ", ".join(f"{counts[name]} {name}" for name in ("ok", "diverged", "failed"))
    ended += f", {counts['pruned']} pruned" * bool(counts["pruned"])
    at_a_rung = f", {len(standing.paused)} paused at a rung" * bool(standing.paused)
    return f"{counts.total()} of {planned} runs done: {ended}; {now} running, {waiting} waiting{at_a_rung}"


def _begun_again(begun: Mapping[str, Progress]) -> list[str]:
    again = [progress.attempts for progress in begun.values() if progress.attempts > 1]
    if not again:
        return []
    return [f"  requeued or begun again: {len(again)} packs, {sum(again) - len(again)} times"]


def _line(pack: PlannedPack, standing: Standing) -> str:
    begun, job = standing.begun.get(pack.pack_id), standing.job(pack)
    told = standing.progress.get(pack.pack_id)
    where = f"{job.where}: " if job else ""
    step = max(begun.step if begun else 0, told.step if told else 0)
    at = f", at step {step} or later of {standing.plan.settings.task.steps}" if step else ""
    best = f", best {told.metric} {told.best:.3f}" if told and told.best == told.best else ""
    again = f", attempt {begun.attempts}" if begun and begun.attempts > 1 else ""
    return f"  {where}{pack.title}, {len(pack.run_ids)} runs{at}{best}{again}"


def _time_left(standing: Standing) -> list[str]:
    if not standing.left:
        return []
    seconds = seconds_left(standing.packs_left(), standing.plan.workers)
    return [f"  about {seconds:.0f} s of training left on {standing.plan.workers} workers"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
