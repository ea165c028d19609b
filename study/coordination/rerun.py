"""One run of a study trained again, in a folder of its own, and how the second result stands to the first."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from pathlib import Path

from study.coordination.coordinator import run_study
from study.coordination.plan_file import FILE, read_plan, write_plan
from study.coordination.same_origin import changed_versions
from study.errors import UsageError, nearest
from study.planning.origin import Origin
from study.planning.packs import Pack
from study.planning.runs import Run
from study.settings import LauncherSettings, SweepSettings, TaskSettings
from study.storage import records
from study.storage.rows import RunRecord

RERUNS = "reruns"
"""The folder in a study's that holds what was trained again."""

ROUNDING = 1e-3
"""Relative difference that runs trained beside others, or with other threads, may come to by rounding."""

COMPARED = ("valid", "test", "loss_first", "loss_last", "transform_distance", "weight_distance")
COMPARED_ON_THE_WAY = ("valid", "train_loss", "valid_loss")
"""Figures of the result, and of every evaluation point, that tell whether two trainings were the same."""


@dataclass(frozen=True)
class Reproduction:
    """How a run's second result stands to its first.

    Attributes:
        before, now: the records.
        largest: relative difference of the figure that differs most; 0 where all are the same to the bit.
        where: that figure, with both values.
        changes: what is not what it was: data, model, versions.
    """

    before: RunRecord
    now: RunRecord
    largest: float
    where: str
    changes: tuple[str, ...]

    @property
    def ok(self) -> bool:
        return self.before.outcome.status == self.now.outcome.status and self.largest <= ROUNDING

    @property
    def words(self) -> str:
        """The verdict in one line."""
        then, now = self.before.outcome, self.now.outcome
        made = f" (made with {', '.join(self.changes)})" if self.changes else ""
        scores = f"test {now.metric or then.metric} {then.test:.4g} then, {now.test:.4g} now"
        if then.status != now.status:
            return f"NOT reproduced: {then.status} then, {now.status} now{made}"
        if not self.largest:
            return f"reproduced bit for bit: {scores}"
        if self.ok:
            return f"reproduced to rounding: {scores}; most different: {self.where}{made}"
        return f"NOT reproduced: {scores}; most different: {self.where}{made}"


def recorded(folder: Path, run_id: str) -> RunRecord:
    """The record of a run; its id may be shortened to what no other begins with.

    Raises:
        UsageError: if the study has no such run, or several, or it was pruned: a second one would be trained
            to its end, and there is nothing to compare that with.
    """
    known = records.statuses(folder)
    found = [each for each in known if each.startswith(run_id)]
    if len(found) != 1:
        hint = f"it begins {len(found)} of them" if found else nearest(run_id, known) if known else "no runs"
        raise UsageError(f"{folder} has no run {run_id!r}; {hint}")
    content = next(record for record in records.read_all(folder) if record["row"]["run_id"] == found[0])
    record = RunRecord.from_json(content)
    if record.outcome.status == "pruned":
        step = record.history[-1].step
        raise UsageError(
            f"run {found[0]} was pruned at step {step}: it has no result to repeat; name another"
        )
    return record


def run_of(record: RunRecord) -> Run:
    """The run whose record it is, from the settings in the record.

    Raises:
        UsageError: if the settings are not the run's: another version of the project wrote them.
    """
    identity = record.identity
    prefix = f"method.{identity.method}."
    options = {k.removeprefix(prefix): v for k, v in identity.settings.items() if k.startswith(prefix)}
    names = {field.name for field in dataclasses.fields(TaskSettings)}
    of_task = {
        name: value
        for key, value in identity.settings.items()
        if (name := key.removeprefix("task.")) in names and key != name
    }
    task = TaskSettings(name=identity.task, scale=identity.scale, **of_task)
    run = Run(task, identity.method, options, identity.lr, identity.seed)
    if run.run_id != identity.run_id:
        raise UsageError(f"run {identity.run_id} was recorded with settings that this version does not know")
    return run


def pack_of(folder: Path, record: RunRecord) -> list[Run]:
    """The runs that trained together with the record's, in their order.

    Raises:
        UsageError: if they are not all in the study.
    """
    pack_id = record.circumstances.pack_id
    mates = [each for each in records.read_all(folder) if each["row"]["pack_id"] == pack_id]
    runs = [run_of(RunRecord.from_json(each)) for each in mates]
    if Pack(tuple(runs)).pack_id != pack_id:
        raise UsageError(f"the pack of run {record.identity.run_id} is not complete in {folder}")
    return runs


def rerun(folder: Path, record: RunRecord, runs: list[Run], device: str | None) -> tuple[Path, Reproduction]:
    """Trains the runs, of which one is the record's, and compares.

    Returns:
        The folder in which they were trained, with the run's adapter, and how the results stand.

    Raises:
        UsageError: if it cannot be trained here.
        CannotWrite: if the disk is full.
    """
    plan = read_plan(folder)
    run_id = record.identity.run_id
    again = _folder(folder / RERUNS, run_id)
    settings = dataclasses.replace(
        plan.settings if plan else SweepSettings(sweep=record.identity.sweep),
        methods=[record.identity.method],
        lr=[record.identity.lr],
        seed=[record.identity.seed],
        axes={},
        points=[],
        task=next(run.task for run in runs if run.run_id == run_id),
        launcher=LauncherSettings(device=device),
        results=str(again.parent),
        name=again.name,
        pack_size=len(runs),
        save_adapters="all",
        retry="failed",
        report=False,
    )
    if plan and runs[0].variant in plan.profiles and not (again / FILE).exists():
        write_plan(again, settings, [Pack(tuple(runs))], plan.profiles, 1)  # nothing is to be measured
    run_study(settings, runs, lambda drawn: drawn)
    return again, compared(record, recorded(again, run_id))


def _folder(reruns: Path, run_id: str) -> Path:
    """The first that has no record of the run yet: one that was interrupted goes on."""
    names = itertools.chain([run_id], (f"{run_id}-{number}" for number in itertools.count(2)))
    return next(folder for name in names if run_id not in records.statuses(folder := reruns / name))


def compared(before: RunRecord, now: RunRecord) -> Reproduction:
    """How the second record stands to the first."""
    then_and_now = {name: (getattr(before.outcome, name), getattr(now.outcome, name)) for name in COMPARED}
    for then, later in zip(before.history, now.history, strict=False):
        of_step = {
            f"{n} at step {then.step}": (getattr(then, n), getattr(later, n)) for n in COMPARED_ON_THE_WAY
        }
        then_and_now |= of_step
    sizes = {name: _difference(*values) for name, values in then_and_now.items()}
    most = max(sizes, key=lambda name: sizes[name])
    words = f"{most}, {then_and_now[most][0]:.6g} then, {then_and_now[most][1]:.6g} now"
    then_origin, now_origin = Origin.of_row(before.row()), Origin.of_row(now.row())
    changes = [f"another task.{name}" for name in now_origin.changed(then_origin)]
    changes += changed_versions(then_origin, now_origin)
    return Reproduction(before, now, sizes[most], words, tuple(changes))


def _difference(then: float, now: float) -> float:
    """Relative; 0 where both are nan."""
    if then == now or (math.isnan(then) and math.isnan(now)):
        return 0.0
    if not (math.isfinite(then) and math.isfinite(now)):
        return math.inf
    return abs(then - now) / max(abs(then), abs(now))
