"""A space's trials rung by rung: who goes on is decided when all that are judged together have arrived.

Nothing but scores decides, and those are in records and in paused runs; so whoever is interrupted decides the
same again.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from study.planning.packs import pack_id
from study.planning.rungs import Round, brackets, promoted, rung_steps
from study.planning.runs import Run
from study.settings import SweepSettings
from study.storage import paused, records
from study.storage.rows import RunRecord
from study.storage.trials import SpaceTrials, Trial

FAILED = -1.0


@dataclass(frozen=True)
class Course:
    """What is known of a run on its way.

    Attributes:
        scores: on validation, by step.
        dead_at: the step at which it diverged in training, or behind which it was pruned; -1 if it failed;
            else infinite.
        ended: whether it has a record.
        record: that it leaves if it is pruned now; None unless it is paused.
    """

    scores: Mapping[int, float]
    dead_at: float
    higher_is_better: bool
    ended: bool
    record: RunRecord | None = None


@dataclass(frozen=True)
class Cohort:
    """The trials that are judged together."""

    trials: tuple[Trial, ...]
    rungs: int


def rounds(folder: Path, settings: SweepSettings, drawn: SpaceTrials, runs: Sequence[Run]) -> Iterator[Round]:
    """The study's runs, each time as far as the rung that is next; what does not pass it is pruned between.

    Args:
        runs: of all trials that were drawn.

    Raises:
        CannotWrite: if a pruned run's record cannot be written.
    """
    by_id = {run.run_id: run for run in runs}
    while True:
        courses = _courses(folder)
        stops: dict[str, int] = {}
        for cohort in cohorts(settings, drawn):
            stops |= _judge(folder, settings, cohort, by_id, courses)
        ended = records.statuses(folder)
        to_rung = sum(run_id not in ended for run_id in stops)
        to_end = sum(run.run_id not in ended for run in runs) - to_rung
        print(f"{settings.pruner}: {to_rung} runs to their next rung, {to_end} to their end", flush=True)
        yield Round(runs, stops)
        if not stops:
            return


def cohorts(settings: SweepSettings, drawn: SpaceTrials) -> list[Cohort]:
    """By method, wave and bracket, those with the most rungs first; each in the order of its trials."""
    found: dict[tuple[str, int, int], list[Trial]] = {}
    for method in settings.methods:
        trials = drawn.methods[method].trials
        for wave in sorted({trial.wave for trial in trials}):
            of_wave = [trial for trial in trials if trial.wave == wave]
            for trial, rungs in zip(of_wave, brackets(settings, len(of_wave)), strict=True):
                found.setdefault((method, wave, -rungs), []).append(trial)
    return [Cohort(tuple(trials), -key[2]) for key, trials in sorted(found.items())]


def _judge(
    folder: Path,
    settings: SweepSettings,
    cohort: Cohort,
    runs: Mapping[str, Run],
    courses: Mapping[str, Course],
) -> dict[str, int]:
    """Prunes what does not pass the rungs that all have reached; returns the stops of those that go on."""
    alive = list(cohort.trials)
    for rung in range(cohort.rungs):
        steps = {
            run_id: rung_steps(runs[run_id].task, settings.reduction, cohort.rungs)[rung]
            for trial in alive
            for run_id in trial.run_ids
        }
        if not all(_arrived(courses.get(run_id), step) for run_id, step in steps.items()):
            return {
                run_id: step
                for run_id, step in steps.items()
                if not (run_id in courses and courses[run_id].ended)
            }
        scores = [_score([(courses[run_id], steps[run_id]) for run_id in t.run_ids]) for t in alive]
        higher = next((c.higher_is_better for c in map(courses.__getitem__, steps) if c.scores), True)
        go_on = promoted(scores, settings.reduction, higher)
        left = [trial for place, trial in enumerate(alive) if place not in go_on]
        reason = f"pruned: not among the best {len(go_on)} of {len(alive)} trials"
        _prune(folder, [courses[run_id] for trial in left for run_id in trial.run_ids], reason)
        alive = [trial for place, trial in enumerate(alive) if place in go_on]
    return {}


def _arrived(course: Course | None, step: int) -> bool:
    """Whether a run's score at the step is known, or it will never have one."""
    return course is not None and (step in course.scores or (course.ended and course.dead_at <= step))


def _score(seeds: Sequence[tuple[Course, int]]) -> float | None:
    """A trial's mean at a rung over its seeds that did not fail; None if one diverged, or all failed."""
    able = [(course, step) for course, step in seeds if course.dead_at != FAILED]
    if any(course.dead_at <= step or not math.isfinite(course.scores[step]) for course, step in able):
        return None
    return math.fsum(course.scores[step] for course, step in able) / len(able) if able else None


def _prune(folder: Path, courses: Sequence[Course], reason: str) -> None:
    """Writes the records of runs that do not go on; those that have one keep it."""
    pruned = []
    for course in courses:
        if course.record and not course.ended:
            why = f"{reason}; {course.record.outcome.reason}".removesuffix("; ")
            outcome = dataclasses.replace(course.record.outcome, reason=why)
            pruned.append(dataclasses.replace(course.record, outcome=outcome))
    if pruned:
        run_ids = [record.identity.run_id for record in pruned]
        records.write(folder, pack_id(run_ids), pruned)
        paused.forget(folder, run_ids)


def _courses(folder: Path) -> dict[str, Course]:
    """Of every run that has a record or is paused, by run_id."""
    found = {}
    for run_id in paused.run_ids(folder):
        if record := paused.record(folder, run_id):
            found[run_id] = _course(record, ended=False)
    for _, pack in records.read_packs(folder):
        for content in pack.records():
            record = RunRecord.from_json(content)
            found[record.identity.run_id] = _course(record, ended=True)
    return found


def _course(record: RunRecord, ended: bool) -> Course:
    outcome = record.outcome
    scores = {point.step: point.valid for point in record.history}
    dead_at = FAILED if outcome.status == "failed" else math.inf
    if outcome.diverged_at is not None:
        dead_at = outcome.diverged_at
    elif ended and outcome.status == "pruned":
        dead_at = max(scores) + 1
    return Course(
        scores=scores,
        dead_at=dead_at,
        higher_is_better=outcome.higher_is_better,
        ended=ended,
        record=None if ended else record,
    )
