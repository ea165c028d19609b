"""What was understood of a task before anything trains: its data, its model, and what methods would change.

An inspection holds for all runs that read the same data and adapt the same model, whatever they train with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.planning.runs import Run, canonical, digest
from study.settings import TaskSettings
from study.tasks.data_summary import DataSummary, Lengths

TRAINED_WITH = (
    "steps", "batch_size", "eval_batch_size", "evaluations", "weight_decay", "warmup_steps", "accumulate",
    "clip", "noise", "sharpness",
)  # fmt: skip
"""Task settings that change neither what is read nor what is adapted."""


@dataclass(frozen=True)
class Fingerprints:
    """What the content of all that a task reads is known by; empty where nobody has looked.

    `study.tasks.loading.fingerprint` makes them.

    Attributes:
        judges: of the models by which scores are made, of pictures that the base model draws to train on, and
            of which data are trained on with which labels: `segmenter sha256:..., inception sha256:...,
            class_pictures latents:..., train_examples rows:...`.
    """

    data: str = ""
    model: str = ""
    judges: str = ""

    def by_setting(self) -> dict[str, str]:
        """Each by the task setting that names what it is of: `data`, `model`, `segmenter`, ..."""
        pairs = (part.partition(" ") for part in self.judges.split(", ") if part)
        return {"data": self.data, "model": self.model, **{name: found for name, _, found in pairs}}

    def changed(self, before: Fingerprints) -> list[str]:
        """The settings that name what is known, now and before, to be something else."""
        then = before.by_setting()
        return [
            name
            for name, now in self.by_setting().items()
            if _is_known(now) and _is_known(then.get(name, "")) and now != then[name]
        ]


NOT_SEEN = Fingerprints()


def _is_known(fingerprint: str) -> bool:
    return fingerprint not in ("", "unknown")


@dataclass(frozen=True)
class ModelSummary:
    """What was understood of a base model.

    Attributes:
        name: its class.
        size: numbers that it holds.
        adapted: its adapted modules by entry of `task.target_modules`, each under the longest that names it.
        head: the task's head; of a task without one, layers outside the blocks that are not adapted.
        head_is_trained: whether the task trains its head beside the adapter (`task.head_lr`).
        finetuned: the parts that a method trains in full: `all of it`, or names of modules.
    """

    name: str
    size: int
    adapted: Mapping[str, int]
    head: tuple[str, ...]
    head_is_trained: bool
    finetuned: tuple[str, ...] = ()


@dataclass(frozen=True)
class Inspection:
    """A task as a worker understood it.

    Attributes:
        parameters: trained numbers of one run as the paper counts them, of each run that was inspected; None
            where the shape of the model alone does not tell.
    """

    fingerprints: Fingerprints
    data: DataSummary
    model: ModelSummary
    parameters: tuple[int | None, ...]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Inspection:
        """Raises KeyError or TypeError if it is none."""
        data, model = content["data"], content["model"]
        lengths = data["lengths"] and Lengths(**data["lengths"])
        columns, notes = tuple(data["columns"]), tuple(data["notes"])
        return cls(
            Fingerprints(**content["fingerprints"]),
            DataSummary(**{**data, "columns": columns, "notes": notes, "lengths": lengths}),
            ModelSummary(
                **{**model, "head": tuple(model["head"]), "finetuned": tuple(model.get("finetuned", ()))}
            ),
            tuple(content["parameters"]),
        )


def task_key(task: TaskSettings) -> str:
    """The same for tasks that one inspection holds for."""
    return digest(canonical(task, leave_out=TRAINED_WITH))


def method_key(run: Run) -> str:
    """The same for runs that adapt a model in the same way."""
    return digest([run.method, run.options])


def runs_to_inspect(runs: Sequence[Run]) -> dict[str, list[Run]]:
    """One run for each way of adapting each task's model, by the key of the task."""
    chosen: dict[str, dict[str, Run]] = {}
    for run in {run.variant: run for run in runs}.values():
        chosen.setdefault(task_key(run.task), {}).setdefault(method_key(run), run)
    return {key: list(by_method.values()) for key, by_method in chosen.items()}
