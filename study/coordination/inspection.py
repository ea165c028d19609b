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
    keys = {InspectJob(tuple(asked)): key for key, asked in understood.runs.items()}
    refusals = []
    for job, answer in session.do(list(keys)):
        assert isinstance(job, InspectJob)
        match answer:
            case Inspected(inspection):
                understood.inspections[keys[job]] = inspection
            case Refused(reason, out_of_reach) if out_of_reach and elsewhere:
                understood.reasons[keys[job]] = reason
            case Refused(reason):
                refusals.append(reason)
            case Died() | Lost():
                why = answer.words if isinstance(answer, Died) else answer.cause
                reason = f"{job.title} cannot be inspected: {why}"
                if not elsewhere:
                    raise UsageError(reason)
                understood.reasons[keys[job]] = reason
            case _:
                raise AssertionError(f"no answer to an inspection: {answer}")
    if refusals:
        raise UsageError(min(refusals))
    return understood
