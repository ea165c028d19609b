"""Has workers look at a study's tasks before anything runs: what data and models are, whether methods fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from study.errors import UsageError
from study.launchers import Session
from study.planning.inspection import (
    Fingerprints,
    Inspection,
    method_key,
    runs_to_inspect,
    task_key,
)
from study.planning.jobs import Died, Inspected, InspectJob, Lost, Refused
from study.planning.origin import Origin
from study.planning.runs import Run
from study.storage.provenance import provenance


@dataclass
class Understanding:
    """What was understood of the tasks of a study, by `task_key`.

    Attributes:
        runs: what was asked about: a run for each way of adapting each task's model.
        reasons: why a task could not be inspected from here.
    """

    runs: Mapping[str, Sequence[Run]]
    inspections: dict[str, Inspection] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)

    def fingerprints(self, run: Run) -> Fingerprints:
        """Of the run's data and base model; empty where they were not seen."""
        inspection = self.inspections.get(task_key(run.task))
        return inspection.fingerprints if inspection else Fingerprints()

    def origin(self, run: Run) -> Origin:
        """What the run's result would come from now."""
        return Origin.of(run.task, self.fingerprints(run), provenance())

    def parameters(self, run: Run) -> int | None:
        """What the run would train; None where it is not known."""
        key = task_key(run.task)
        if key not in self.inspections:
            return None
        keys = [method_key(asked) for asked in self.runs[key]]
        return self.inspections[key].parameters[keys.index(method_key(run))]


def inspect(runs: Sequence[Run], session: Session, elsewhere: bool) -> Understanding:
    """Has the session's workers inspect every task of the runs.

    Args:
        elsewhere: the runs are not trained on the session's machine now: what it cannot see is no error.

    Raises:
        UsageError: if data, model or options cannot be used.
    """
    understood = Understanding(runs_to_inspect(runs))
    refusals: list[str] = []
    for keys in _rounds(understood.runs) if elsewhere else [list(understood.runs)]:
        away = {_source(understood.runs[key]): reason for key, reason in understood.reasons.items()}
        sources = {key: _source(understood.runs[key]) for key in keys}
        understood.reasons |= {key: away[source] for key, source in sources.items() if source in away}
        jobs = {InspectJob(tuple(understood.runs[key])): key for key in keys if sources[key] not in away}
        for job, answer in session.do(list(jobs)):
            assert isinstance(job, InspectJob)
            match answer:
                case Inspected(inspection):
                    understood.inspections[jobs[job]] = inspection
                case Refused(reason, out_of_reach) if not (out_of_reach and elsewhere):
                    refusals.append(reason)
                case Refused() | Died() | Lost():
                    understood.reasons[jobs[job]] = _reason(job, answer)
                case _:
                    raise AssertionError(f"no answer to an inspection: {answer}")
    if not elsewhere:
        refusals += understood.reasons.values()
    if refusals:
        raise UsageError(min(refusals))
    return understood


def _rounds(asked: Mapping[str, Sequence[Run]]) -> list[list[str]]:
    """First one task of each model and data: a hub that does not answer is asked once, not for each."""
    first = {_source(runs): key for key, runs in reversed(list(asked.items()))}
    return [list(first.values()), [key for key in asked if key not in first.values()]]


def _source(runs: Sequence[Run]) -> tuple[str, str]:
    return runs[0].task.model, runs[0].task.data


def _reason(job: InspectJob, answer: Refused | Died | Lost) -> str:
    match answer:
        case Refused(reason):
            return reason
        case Died():
            return f"{job.title} cannot be inspected: {answer.words}"
        case Lost(cause):
            return f"{job.title} cannot be inspected: {cause}"
