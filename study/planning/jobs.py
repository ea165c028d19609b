"""What a launcher is given and what it gives back: jobs and their answers, and their form as JSON.

A *job* is what a worker does at a time: it trains a pack, measures a method, counts its memory, inspects a
task, or loads a model and its data. Every job gets exactly one answer, whatever becomes of its worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from study.planning.inspection import NOT_SEEN, Fingerprints, Inspection
from study.planning.packs import Pack
from study.planning.profile import Footprint, Profile, RunMapping
from study.planning.runs import Run, digest
from study.settings import JUDGES

# Jobs -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Provenance:
    """What made a result: versions of the packages, and the state of the checkout (empty outside one)."""

    versions: str
    git_sha: str
    git_dirty: bool


@dataclass(frozen=True)
class TrainJob:
    """Train a pack and write its records.

    Attributes:
        folder: the study's, as an absolute path.
        seconds: estimated.
        mapping: how the runs train together.
        checkpoint_s: seconds between two checkpoints.
        cuda_graphs: whether a GPU replays recorded steps.
        halved: the pack ran out of memory before, and this is a part of it.
        until: the step at which the runs are paused; None for their end.
        fingerprints: of the data and the base model that it was planned with; its worker refuses others.
    """

    folder: str
    runs: tuple[Run, ...]
    seconds: float
    mapping: RunMapping
    checkpoint_s: float
    save_adapters: bool
    sweep: str
    provenance: Provenance
    cuda_graphs: bool = True
    halved: bool = False
    until: int | None = None
    fingerprints: Fingerprints = NOT_SEEN

    @property
    def pack_id(self) -> str:
        return Pack(self.runs).pack_id

    @property
    def title(self) -> str:
        return self.runs[0].title

    def split(self, again: bool = False) -> list[TrainJob]:
        """The job in two of half the size, for it ran out of memory; none if it cannot or must not be split.

        Args:
            again: halves may be split, too: where it is certain that memory was the cause.
        """
        if (self.halved and not again) or len(self.runs) < 2:
            return []
        middle = len(self.runs) // 2
        return [
            replace(self, runs=part, seconds=self.seconds / 2, halved=True)
            for part in (self.runs[:middle], self.runs[middle:])
        ]


@dataclass(frozen=True)
class ProbeJob:
    """Measure what a variant costs on this machine: does it pack, and at which size is it fastest?

    Attributes:
        run: one of the variant's.
        num_runs: how many runs the variant has; no larger pack is tried.
        pack_size: the size that was asked for; None to find the best.
        memory_gb: of the device; larger packs are not tried.
    """

    variant: str
    run: Run
    num_runs: int
    pack_size: int | None
    memory_gb: float | None

    @property
    def title(self) -> str:
        return self.run.title


@dataclass(frozen=True)
class EstimateJob:
    """Count what a variant needs of a device's memory, from the shape of its model: no weights are loaded."""

    variant: str
    run: Run

    @property
    def title(self) -> str:
        return self.run.title


@dataclass(frozen=True)
class InspectJob:
    """Say what is understood of a task, and what methods would change of its model: no weights are loaded.

    Attributes:
        runs: of one task, a run for each way of adapting its model.
    """

    runs: tuple[Run, ...]

    @property
    def title(self) -> str:
        return f"task {self.runs[0].task.name}"


@dataclass(frozen=True)
class FetchJob:
    """Load the run's model and data once, so that they are in the cache."""

    run: Run

    @property
    def title(self) -> str:
        return f"model {self.run.task.model}, data {self.run.task.data}"


Job = TrainJob | ProbeJob | EstimateJob | InspectJob | FetchJob


def job_key(job: Job) -> str:
    """The same for the same work, whoever submits it."""
    match job:
        case TrainJob():
            return train_key(job.pack_id, job.until)
        case ProbeJob():
            return digest(["profile", None, job.variant, job.pack_size])
        case EstimateJob():
            return digest(["estimate", None, job.variant, None])
        case InspectJob():
            return digest(["inspect", None, [run.variant for run in job.runs], None])
        case FetchJob():
            task = job.run.task
            judges = [getattr(task, judge) for judge in JUDGES]
            return digest(["fetch", task.name, task.model, task.data, *filter(None, judges)])


def train_key(pack: str, until: int | None = None) -> str:
    """The key of the job that trains the pack with this id, up to a step."""
    return digest(["train", pack, until, None])


# Answers --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """The pack's records are written: `statuses` has `ok`, `diverged` or `failed` of each run; or its runs
    are kept at a rung, and each is `paused`."""

    statuses: tuple[str, ...]


@dataclass(frozen=True)
class Probed:
    """What was measured.

    Attributes:
        disturbed: what else the machine was busy with meanwhile, so that the times may be wrong; else empty.
    """

    profile: Profile
    disturbed: str = ""


@dataclass(frozen=True)
class Estimated:
    footprint: Footprint


@dataclass(frozen=True)
class Inspected:
    inspection: Inspection


@dataclass(frozen=True)
class Fetched:
    """Model and data are in the cache."""


@dataclass(frozen=True)
class Refused:
    """The worker will not do it, for what the user asked for cannot work; `reason` is one line.

    Attributes:
        out_of_reach: what is lacking is somewhere else, and this machine cannot ask for it.
    """

    reason: str
    out_of_reach: bool = False


@dataclass(frozen=True)
class CannotStore:
    """The disk is full, or the folder cannot be written; nothing finished is lost."""

    reason: str


@dataclass(frozen=True)
class Died:
    """The job's worker ended before it answered, with this exit code; minus the signal that killed it."""

    code: int
    cause: str = ""

    @property
    def killed(self) -> bool:
        """As the kernel does to a process that takes too much memory."""
        return self.code == -9

    @property
    def words(self) -> str:
        return self.cause or f"its worker ended with code {self.code}, see logs/"


@dataclass(frozen=True)
class Lost:
    """The job is gone from its queue and left no answer; the next call does it."""

    cause: str


Answer = Trained | Probed | Estimated | Inspected | Fetched | Refused | CannotStore | Died | Lost

# As JSON --------------------------------------------------------------------------------------

JOB_KINDS: dict[str, type[Job]] = {
    "train": TrainJob,
    "profile": ProbeJob,
    "estimate": EstimateJob,
    "inspect": InspectJob,
    "fetch": FetchJob,
}
ANSWER_KINDS: dict[str, type[Answer]] = {
    "trained": Trained,
    "probed": Probed,
    "estimated": Estimated,
    "inspected": Inspected,
    "fetched": Fetched,
    "refused": Refused,
    "cannot_store": CannotStore,
    "died": Died,
    "lost": Lost,
}

_ENCODE: dict[str, Callable[[Any], Any]] = {
    "run": Run.to_json,
    "runs": lambda runs: [run.to_json() for run in runs],
    "provenance": vars,
    "profile": Profile.to_json,
    "footprint": vars,
    "fingerprints": vars,
    "inspection": asdict,
}
_DECODE: dict[str, Callable[[Any], Any]] = {
    "run": Run.from_json,
    "runs": lambda runs: tuple(Run.from_json(run) for run in runs),
    "provenance": lambda content: Provenance(**content),
    "mapping": RunMapping,
    "profile": Profile.from_json,
    "footprint": lambda content: Footprint(**content),
    "fingerprints": lambda content: Fingerprints(**content),
    "inspection": Inspection.from_json,
    "statuses": tuple,
}
"""How the fields that are no plain values are written and read."""


def job_to_json(job: Job) -> dict[str, Any]:
    return _to_json(job, JOB_KINDS)


def job_from_json(content: Mapping[str, Any]) -> Job:
    """Raises KeyError or TypeError if it is no job."""
    job: Job = _from_json(content, JOB_KINDS)
    return job


def answer_to_json(answer: Answer) -> dict[str, Any]:
    return _to_json(answer, ANSWER_KINDS)


def answer_from_json(content: Mapping[str, Any]) -> Answer:
    """Raises KeyError or TypeError if it is no answer."""
    answer: Answer = _from_json(content, ANSWER_KINDS)
    return answer


def _to_json(value: Any, kinds: Mapping[str, type]) -> dict[str, Any]:
    kind = next(name for name, class_ in kinds.items() if type(value) is class_)
    fields = {name: _ENCODE.get(name, lambda plain: plain)(field) for name, field in vars(value).items()}
    return {"kind": kind, **fields}


def _from_json(content: Mapping[str, Any], kinds: Mapping[str, type]) -> Any:
    fields = {name: field for name, field in content.items() if name != "kind"}
    return kinds[content["kind"]](**{n: _DECODE.get(n, lambda plain: plain)(f) for n, f in fields.items()})
