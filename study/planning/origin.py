"""What a result comes from beside a run's own settings: data and models as they were, and versions.

Two results stand in one table only where these agree: else the table compares something else than methods.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from study.naming import is_shipped
from study.planning.inspection import Fingerprints
from study.planning.jobs import Provenance
from study.settings import JUDGES, TRAINING_SET, TaskSettings

PACKAGES = ("study", "torch", "transformers", "peft", "diffusers")
"""Whose versions decide a result; `study` is this project."""

OWN = ("examples:", "weights:")
"""How fingerprints begin of what a task makes itself, in which any of its settings may have a part."""

OF_DATA = ("task", "model", "data", "subset", "max_length")
"""Settings that may have a part in the examples that a task makes."""


@dataclass(frozen=True)
class Origin:
    """A run's data and models, by its task's settings and by their content, and what trained it.

    Attributes:
        judges: the models by which its scores are made, a setting's name and its value each.
        training_set: what cuts down or changes the training data, likewise.
    """

    task: str
    model: str
    data: str
    subset: str | None
    max_length: int | None
    fingerprints: Fingerprints
    provenance: Provenance
    judges: tuple[tuple[str, str], ...] = ()
    training_set: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, task: TaskSettings, fingerprints: Fingerprints, provenance: Provenance) -> Origin:
        named = task.name, task.model, task.data, task.subset, task.max_length
        of_task = vars(task)
        return cls(*named, fingerprints, provenance, _given(of_task, JUDGES), _given(of_task, TRAINING_SET))

    @classmethod
    def of_row(cls, row: Mapping[str, Any]) -> Origin:
        """Of a finished run, by its row of `runs`; what older versions did not write is empty."""
        return cls(
            task=row.get("task", ""),
            model=row.get("task.model", ""),
            data=row.get("task.data", ""),
            subset=row.get("task.subset"),
            max_length=row.get("task.max_length"),
            fingerprints=Fingerprints(
                row.get("data_fingerprint", ""),
                row.get("model_fingerprint", ""),
                row.get("judge_fingerprints", ""),
            ),
            provenance=Provenance(
                row.get("versions", ""), row.get("git_sha", ""), row.get("git_dirty", False)
            ),
            judges=_given(_of_task(row), JUDGES),
            training_set=_given(_of_task(row), TRAINING_SET),
        )

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Origin:
        """Raises KeyError or TypeError if it is none."""
        parts = {
            "fingerprints": Fingerprints(**content["fingerprints"]),
            "provenance": Provenance(**content["provenance"]),
            **{
                kind: tuple((setting, value) for setting, value in content.get(kind, ()))
                for kind in ("judges", "training_set")
            },
        }
        return cls(**{**content, **parts})

    def named(self, setting: str) -> str | None:
        """What the run's settings have for its `data`, `model`, a judge or its training set."""
        known = {"data": self.data, "model": self.model, **dict(self.judges), **dict(self.training_set)}
        return known.get(setting)

    def changed(self, before: Origin) -> list[str]:
        """`data`, `model` and judges, as far as both origins name the same one and its content is another."""
        changed = self.fingerprints.changed(before.fingerprints)
        return [name for name in changed if self._names_the_same(name, before)]

    def _names_the_same(self, name: str, before: Origin) -> bool:
        found, then = (origin.fingerprints.by_setting()[name] for origin in (self, before))
        if self.named(name) != before.named(name):
            return False
        if self.named(name) is None:  # pictures that a model drew: the same if they are drawn in the same way
            return found.partition(":")[0] == then.partition(":")[0]
        settings: tuple[str, ...] = ()
        if name in TRAINING_SET:
            settings = (*OF_DATA, "training_set")
        elif found.startswith(OWN):
            settings = OF_DATA
        elif name == "model" and is_shipped(self.model):
            settings = ("task",)
        return all(getattr(self, each) == getattr(before, each) for each in settings)


def _of_task(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name.removeprefix("task."): value for name, value in row.items() if name.startswith("task.")}


def _given(task: Mapping[str, Any], settings: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Those of the settings that a task has a value for; a number is the same as 0 and as 0.0."""
    values = ((setting, task.get(setting)) for setting in settings)
    return tuple(
        (setting, value if isinstance(value, str) else f"{value:g}")
        for setting, value in values
        if value not in (None, "") and value == value
    )


def changed_packages(before: str, now: str) -> list[str]:
    """What differs between two texts of versions, such as `torch 2.12.0 (now 2.13.0)`.

    Builds of one version, as `2.13.0+cpu` and `2.13.0+cu126`, are the same here.
    """
    then_by_name, now_by_name = _versions(before), _versions(now)
    return [
        f"{name} {then_by_name[name]} (now {now_by_name[name]})"
        for name in PACKAGES
        if name in then_by_name and name in now_by_name and then_by_name[name] != now_by_name[name]
    ]


def _versions(text: str) -> dict[str, str]:
    pairs = [part.partition(" ") for part in text.split(", ")]
    return {name: version.partition("+")[0] for name, _, version in pairs if version}
