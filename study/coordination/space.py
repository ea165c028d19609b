"""A study that draws its runs from a space: asks for a wave of trials, has it trained, tells, asks again.

A wave is an ordinary set of runs. It is written to trials.json before it is trained; whoever is interrupted
goes on with the same trials, and a lost trials.json is drawn again from the records.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from study.coordination import pruning
from study.coordination.here import worker_here
from study.errors import UsageError
from study.planning import space
from study.planning.jobs import InspectJob, Refused
from study.planning.rungs import Round
from study.planning.runs import Run, plan_runs
from study.planning.space import RunResult, Told, Values
from study.settings import SweepSettings, TaskSettings
from study.storage import records, trials
from study.storage.files import quarantine
from study.storage.optuna_index import MethodIndex, write_studies
from study.storage.trials import DamagedTrials, MethodTrials, SpaceTrials, Trial

PRUNING = ("pruner", "reduction", "rungs")


def first_wave(settings: SweepSettings) -> SpaceTrials:
    """The trials of a new study before any has a result; nothing is written.

    Raises:
        UsageError: if a method can take none of the values of one of its options, or next to no combination.
    """
    spaces = {method: space.of_method(settings.space, method) for method in settings.methods}
    refused = _refused(settings, spaces)
    methods = {method: MethodTrials(of, refused[method]) for method, of in spaces.items()}
    pruning = {key: getattr(settings, key) for key in PRUNING} if settings.pruner != "none" else {}
    empty = SpaceTrials(settings.sampler, settings.sampler_seed, settings.wave, methods, **pruning)
    return _ask(settings, empty, {}) or empty


def runs_of(settings: SweepSettings, drawn: SpaceTrials) -> list[Run]:
    """The runs of all trials that were drawn, each once."""
    runs: dict[str, Run] = {}
    for method in settings.methods:
        known = drawn.methods.get(method, MethodTrials({}))
        for run in _runs(settings, method, [trial.values for trial in known.trials]):
            runs.setdefault(run.run_id, run)
    return list(runs.values())


def rounds(folder: Path, settings: SweepSettings) -> Iterator[Round]:
    """The runs of the study so far, each time with a further wave; asked for when those before have ended.

    With a pruner a wave is trained rung by rung.

    The folder must be locked.

    Raises:
        UsageError: if the folder holds trials of another space, or the space does not fit the methods.
    """
    drawn: SpaceTrials | None = _continued(folder, settings)
    while drawn is not None:
        trials.write(folder, drawn)
        results = _results(folder)
        _index(folder, drawn, results)
        number = max(known.waves for known in drawn.methods.values())
        if settings.sampler in space.LEARNING:
            print(f"wave {number} of {count_waves(settings)}: sampler {settings.sampler}", flush=True)
        runs = runs_of(settings, drawn)
        if settings.pruner == "none":
            yield Round(runs)
        else:
            yield from pruning.rounds(folder, settings, drawn, runs)
        results = _results(folder)
        _index(folder, drawn, results)
        drawn = _ask(settings, drawn, results)


def known_trials(folder: Path, settings: SweepSettings) -> SpaceTrials:
    """The trials that the folder holds, with the first of methods that have none; nothing is written.

    Raises:
        UsageError: if the folder holds trials of another space, or the space does not fit the methods.
    """
    there = trials.read(folder)
    if there is None:
        return first_wave(settings)
    check_same_space(folder, there, settings)
    missing = [method for method in settings.methods if method not in there.methods]
    if not missing:
        return there
    added = first_wave(dataclasses.replace(settings, methods=missing))
    return dataclasses.replace(there, methods={**there.methods, **added.methods})


def _continued(folder: Path, settings: SweepSettings) -> SpaceTrials:
    """As `known_trials`; a damaged file is put aside."""
    try:
        return known_trials(folder, settings)
    except DamagedTrials:
        quarantine(folder / trials.FILE, "The same trials are drawn again.")
        return first_wave(settings)


def check_same_space(folder: Path, there: SpaceTrials, settings: SweepSettings) -> None:
    """Refuses to go on with trials that were drawn otherwise.

    Raises:
        UsageError: naming what was set otherwise.
    """
    now = {"sampler": settings.sampler, "sampler_seed": settings.sampler_seed}
    then: dict[str, object] = {"sampler": there.sampler, "sampler_seed": there.seed}
    if settings.sampler in space.LEARNING:
        now, then = {**now, "wave": settings.wave}, {**then, "wave": there.wave}
    if settings.pruner != there.pruner or settings.pruner != "none":
        now |= {key: getattr(settings, key) for key in PRUNING}
        then |= {key: getattr(there, key) for key in PRUNING}
    for method in there.methods.keys() & set(settings.methods):
        its_space = space.of_method(settings.space, method)
        keys = its_space.keys() | there.methods[method].space.keys()
        for key in sorted(keys):
            now[key], then[key] = its_space.get(key, "fixed"), there.methods[method].space.get(key, "fixed")
    for key, value in then.items():
        if now[key] != value:
            raise UsageError(f"{folder} holds trials with {key}={value}, not {now[key]}; give another name")
    for method in settings.methods:
        stored = there.methods.get(method, MethodTrials({})).trials
        runs = _runs(settings, method, [trial.values for trial in stored])
        if [run.run_id for run in runs] != [run_id for trial in stored for run_id in trial.run_ids]:
            raise UsageError(
                f"{folder} holds trials of {method} with other seeds, options or settings of the task; "
                "give another name"
            )


def count_waves(settings: SweepSettings) -> int:
    """How many waves the trials of each method are asked for in."""
    return -(-settings.trials // settings.wave)


def _ask(settings: SweepSettings, drawn: SpaceTrials, results: Mapping[str, RunResult]) -> SpaceTrials | None:
    """The trials with a further wave of each method that has too few; None if all have enough."""
    higher = _higher_is_better(results)
    methods = dict(drawn.methods)
    for method in settings.methods:
        known = methods[method]
        count = settings.trials - len(known.trials)
        if count <= 0:
            continue
        if settings.sampler in space.LEARNING:
            count = min(count, settings.wave)
        points = space.ask(
            known.space, settings.sampler, settings.sampler_seed, _told(known, results, higher), count,
            higher, partial(_fits, known, settings.task),
        )  # fmt: skip
        ids = [run.run_id for run in _runs(settings, method, points)]
        seeds = len(settings.chosen_seeds)
        new = [Trial(p, tuple(ids[i * seeds : (i + 1) * seeds]), known.waves) for i, p in enumerate(points)]
        methods[method] = dataclasses.replace(known, trials=(*known.trials, *new))
    if all(len(of.trials) == len(drawn.methods[method].trials) for method, of in methods.items()):
        return None
    return dataclasses.replace(drawn, methods=methods)


def _runs(settings: SweepSettings, method: str, points: Sequence[Values]) -> list[Run]:
    """The runs of a method's points, point by point."""
    if not points:
        return []
    rates = [] if "lr" in points[0] else settings.lr
    as_points = [dict(point) for point in points]
    return plan_runs(dataclasses.replace(settings, methods=[method], points=as_points, lr=rates))


def _told(known: MethodTrials, results: Mapping[str, RunResult], higher: bool) -> list[Told]:
    there = [(t.values, [results[run_id] for run_id in t.run_ids if run_id in results]) for t in known.trials]
    return space.tell(there, higher)


def _results(folder: Path) -> dict[str, RunResult]:
    """How every run ended that has a record, by run_id."""
    found: dict[str, RunResult] = {}
    for _, pack in records.read_packs(folder):
        ends = itertools.accumulate(pack.counts["history"])
        for row, end in zip(pack.runs.to_rows(), ends, strict=True):
            status, step = row["status"], 0
            if status == "pruned":
                status = "pruned" if row["diverged_at"] is None else "diverged"
                step = pack.details["history"].column("step")[end - 1]
            result = RunResult(status, _number(row["valid"]), bool(row["higher_is_better"]), step)
            found[row["run_id"]] = result
    return found


def _higher_is_better(results: Mapping[str, RunResult]) -> bool:
    """The direction of the score; a failed run does not know it, and before any result there is none."""
    return next((each.higher_is_better for each in results.values() if each.status != "failed"), True)


def _number(value: float | None) -> float:
    return float("nan") if value is None else float(value)


def _index(folder: Path, drawn: SpaceTrials, results: Mapping[str, RunResult]) -> None:
    """Writes the Optuna study of every method, for the dashboard."""
    higher = _higher_is_better(results)
    indexes = [
        MethodIndex(method, known, tuple(_told(known, results, higher)), frozenset(results))
        for method, known in drawn.methods.items()
    ]
    write_studies(folder, indexes, higher)


# What a method cannot take -------------------------------------------------------------------


Refusals = tuple[tuple[Values, str], ...]
"""Combinations of a method's options, and why it cannot take them."""


def _refused(settings: SweepSettings, spaces: Mapping[str, Mapping[str, object]]) -> dict[str, Refusals]:
    """By method, the combinations of options that its config or the model's shape refuse.

    Raises:
        UsageError: if that leaves nothing of one value of an option.
    """
    combinations = {method: list(space.combinations(of)) for method, of in spaces.items()}
    jobs = {
        InspectJob((_example(settings, method, spaces[method], each),)): (method, each)
        for method, of_method in combinations.items()
        for each in of_method
        if each
    }
    reasons: dict[str, list[tuple[Values, str]]] = {method: [] for method in spaces}
    if jobs:
        with worker_here(settings) as session:
            for job, answer in session.do(list(jobs)):
                assert isinstance(job, InspectJob)
                method, options = jobs[job]
                if isinstance(answer, Refused) and not answer.out_of_reach:
                    reasons[method].append((options, answer.reason))
    for method, refused in reasons.items():
        _check_some_are_left(combinations[method], refused)
    return {
        method: tuple(sorted(refused, key=lambda each: combinations[method].index(dict(each[0]))))
        for method, refused in reasons.items()
    }


def _check_some_are_left(combinations: Sequence[Values], refused: Sequence[tuple[Values, str]]) -> None:
    """Raises UsageError if every combination with one of the values is refused."""
    for key, value in ((key, value) for each in combinations for key, value in each.items()):
        count = sum(each[key] == value for each in combinations)
        reasons = [reason for each, reason in refused if each[key] == value]
        if len(reasons) == count:
            raise UsageError(f"{key}={value} in the space: {reasons[0]}")


def _example(settings: SweepSettings, method: str, its_space: Mapping[str, object], options: Values) -> Run:
    """A run with these options; what else varies has its first value."""
    others = {
        key: (space.listed_values(values) or next(iter(values.values())))[0]  # type: ignore[attr-defined]
        for key, values in its_space.items()
        if key not in options
    }
    return _runs(settings, method, [{**others, **options}])[0]


def _fits(known: MethodTrials, task: TaskSettings, values: Values) -> bool:
    """Whether a point can be trained."""
    if any(all(values.get(key) == value for key, value in each.items()) for each, _ in known.refused):
        return False
    of_task = {k.removeprefix("task."): v for k, v in values.items() if k.startswith("task.")}
    drawn = dataclasses.replace(task, **of_task)
    return drawn.accumulate <= drawn.batch_size and (drawn.refit_steps or 0) <= drawn.steps
