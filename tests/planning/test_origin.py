"""What counts as another origin: other content under the same name, other versions."""

from __future__ import annotations

import dataclasses

import pytest

from study.planning.inspection import Fingerprints
from study.planning.jobs import Provenance
from study.planning.origin import Origin, changed_packages
from study.settings import JUDGES, TaskSettings

VERSIONS = "study 0.1.0, torch 2.13.0+cpu, transformers 5.23.0, peft 0.21.2, python 3.11.7"
ORIGIN = Origin(
    "glue", "models/bert", "my.csv", None, None, Fingerprints("sha256:a", "sha256:m"),
    Provenance(VERSIONS, "", False),
)  # fmt: skip


def other(**changes: object) -> Origin:
    prints = {name: changes.pop(f"{name}_is") for name in ("data", "model") if f"{name}_is" in changes}
    fingerprints = dataclasses.replace(ORIGIN.fingerprints, **prints)  # type: ignore[arg-type]
    return dataclasses.replace(ORIGIN, fingerprints=fingerprints, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("now, expected", [
    (other(), []),
    (other(data_is="sha256:b"), ["data"]),
    (other(model_is="sha256:n"), ["model"]),
    (other(data_is="sha256:b", model_is="sha256:n"), ["data", "model"]),
    (other(data_is="sha256:b", data="your.csv"), []),  # an axis of data sets
    (other(data_is="sha256:b", max_length=64), ["data"]),  # another setting, but the same file
    (other(model_is="sha256:n", model="models/gpt"), []),
    (other(data_is="", model_is=""), []),  # nobody looked
    (other(data_is="unknown", model_is="unknown"), []),
    (other(data_is="examples:b", subset="topic"), []),  # made by the task itself, from its settings
])  # fmt: skip
def test_only_other_content_of_the_same_thing_is_a_change(now: Origin, expected: list[str]) -> None:
    assert now.changed(ORIGIN) == expected


@pytest.mark.parametrize("changes, expected", [
    ({}, ["label_noise"]),
    ({"training_set": (("train_examples", "100"), ("label_noise", "0.2"))}, []),  # an axis of the grid
    ({"data": "your.csv"}, []),
])  # fmt: skip
def test_other_labels_under_the_same_settings_are_a_change(
    changes: dict[str, object], expected: list[str]
) -> None:
    prints = [Fingerprints("sha256:a", "sha256:m", f"label_noise labels:{of}") for of in "xy"]
    given = (("train_examples", "50"), ("label_noise", "0.2"))
    then = dataclasses.replace(ORIGIN, fingerprints=prints[0], training_set=given)
    now = dataclasses.replace(then, fingerprints=prints[1], **changes)  # type: ignore[arg-type]
    assert now.changed(then) == expected
    assert Origin.from_json(now.to_json()) == now


def test_a_training_set_is_the_same_from_settings_and_from_a_row() -> None:
    task = TaskSettings(name="vtab", model="shipped", data="digits", train_examples=200, label_noise=0.0)
    row: dict[str, object] = {"task": "vtab", "task.train_examples": 200.0, "task.label_noise": 0}
    of_row = Origin.of_row({**row, **{f"task.{judge}": None for judge in JUDGES}})
    of_task = Origin.of(task, Fingerprints(), Provenance("", "", False))
    assert of_row.training_set == of_task.training_set == (("train_examples", "200"), ("label_noise", "0"))
    old = {"task": "vtab", "task.label_noise": float("nan")}  # a table with gaps
    assert Origin.of_row(old).training_set == ()


def test_the_shipped_models_of_two_tasks_are_two() -> None:
    then = other(model="shipped")
    assert other(model="shipped", model_is="sha256:n").changed(then) == ["model"]
    assert other(model="shipped", model_is="sha256:n", task="vtab").changed(then) == []


@pytest.mark.parametrize("now, expected", [
    (VERSIONS, []),
    (VERSIONS.replace("2.13.0+cpu", "2.13.0+cu126"), []),
    (VERSIONS.replace("python 3.11.7", "python 3.12.1"), []),
    (VERSIONS.replace("torch 2.13.0", "torch 2.14.0"), ["torch 2.13.0 (now 2.14.0)"]),
    (VERSIONS.replace("0.21.2", "0.22.0").replace("study 0.1.0", "study 0.2.0"),
     ["study 0.1.0 (now 0.2.0)", "peft 0.21.2 (now 0.22.0)"]),
    ("", []),
])  # fmt: skip
def test_other_versions_are_named_old_and_new(now: str, expected: list[str]) -> None:
    assert changed_packages(VERSIONS, now) == expected


def test_an_origin_is_read_as_it_was_written() -> None:
    assert Origin.from_json(ORIGIN.to_json()) == ORIGIN


def test_a_row_of_before_fingerprints_has_an_origin_that_nothing_contradicts() -> None:
    row = {"task": "glue", "task.model": "models/bert", "task.data": "my.csv", "versions": VERSIONS}
    assert ORIGIN.changed(Origin.of_row(row)) == []
    row |= {"data_fingerprint": "sha256:x", "model_fingerprint": "sha256:m"}
    assert ORIGIN.changed(Origin.of_row(row)) == ["data"]
