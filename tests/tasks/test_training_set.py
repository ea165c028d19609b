"""Fewer training examples and wrong labels: which, the same for all runs, and nothing else touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from support.texts.labelled_text import rows_of, write

from study import config, tasks
from study.errors import UsageError
from study.tasks import SPLITS, Task
from study.tasks.loading.fingerprint import made_fingerprints
from study.tasks.training_set import nested_order, noisy_labels


def loaded(*overrides: str) -> Task:
    return tasks.load(config.load("lr_grid", [*overrides]).task)


def trained_on(task: Task, seed: int = 0) -> set[bytes]:
    """The inputs of every batch of two epochs."""
    steps = 2 * -(-len(task.rows("train", seed)) // task.settings.batch_size)
    batches = [next(iter(task.batch(seed, step).values())) for step in range(steps)]
    return {row.numpy().tobytes() for batch in batches for row in batch}


def test_of_two_classes_as_many_are_taken_until_one_has_no_more() -> None:
    classes = torch.tensor([0] * 90 + [1] * 10)
    order = nested_order(100, classes)
    assert sorted(order.tolist()) == list(range(100))
    for count, of_second in ((2, 1), (10, 5), (20, 10), (50, 10), (100, 10)):
        assert int(classes[order[:count]].sum()) == of_second
    assert abs(int(classes[order[:7]].sum()) * 2 - 7) == 1


def test_an_order_without_classes_is_a_shuffle_of_all() -> None:
    order = nested_order(50, None)
    assert sorted(order.tolist()) == list(range(50)) != order.tolist()


def test_the_fewer_examples_are_among_the_more_and_every_seed_has_the_same() -> None:
    sizes = {n: loaded(f"task.train_examples={n}", "task.batch_size=10") for n in (50, 100)}
    fewer, more = (set(task.rows("train", 0).tolist()) for task in sizes.values())
    assert len(fewer) == 50 and len(more) == 100 and fewer < more
    labels = loaded().training_classes()
    assert labels is not None
    assert labels[sorted(fewer)].bincount().tolist() == [5] * 10
    assert trained_on(sizes[50], 0) == trained_on(sizes[50], 3) and len(trained_on(sizes[50])) == 50


@pytest.mark.parametrize("overrides", [
    ["task=glue", "task.subset=similarity"], ["task=instruct"],
])  # fmt: skip
def test_tasks_without_classes_can_have_fewer_examples(overrides: list[str]) -> None:
    task = loaded(*overrides, "task.train_examples=12", "task.batch_size=4")
    assert len(task.rows("train", 0)) == 12
    order = nested_order(task.size("train"), None)
    assert set(task.rows("train", 5).tolist()) == set(order[:12].tolist())


def test_the_share_of_wrong_labels_is_exact_and_the_others_are_drawn_evenly() -> None:
    classes, rows = torch.arange(4000) % 4, torch.arange(4000)
    labels = noisy_labels(classes, rows, 0.3)
    wrong = labels != classes
    assert int(wrong.sum()) == 1200
    away = ((labels - classes) % 4)[wrong].bincount()[1:]  # evenly: 400 each, with deviation 16
    assert away.sum() == 1200 and (away - 400).abs().max() < 80
    assert set(classes[wrong].bincount().tolist()) != {0}


def test_labels_that_are_wrong_stay_so_at_a_larger_share() -> None:
    classes, rows = torch.arange(300) % 3, torch.arange(300)
    few, many, all_of_them = (noisy_labels(classes, rows, share) for share in (0.1, 0.4, 1.0))
    wrong = few != classes
    assert torch.equal(many[wrong], few[wrong]) and torch.equal(all_of_them[wrong], few[wrong])
    assert bool((all_of_them != classes).all())
    assert torch.equal(noisy_labels(classes, rows, 0.0), classes)


def test_classes_that_no_example_has_are_never_given() -> None:
    classes = torch.tensor([0, 3, 7] * 30)
    assert set(noisy_labels(classes, torch.arange(90), 1.0).tolist()) == {0, 3, 7}


def test_batches_have_the_wrong_labels_and_what_is_scored_keeps_its_own() -> None:
    plain, noisy = loaded(), loaded("task.label_noise=0.25", "task.train_examples=80")
    rows = noisy.rows("train", 0)
    own = plain.examples("train", rows)
    of_input = {x.numpy().tobytes(): int(y) for x, y in zip(own["pixel_values"], own["labels"], strict=True)}
    wrong: dict[bytes, int] = {}
    for seed in (0, 1):
        for step in range(5):
            batch = noisy.batch(seed, step)
            for x, y in zip(batch["pixel_values"], batch["labels"], strict=True):
                key = x.numpy().tobytes()
                assert wrong.setdefault(key, int(y)) == int(y)  # in each epoch, of every seed
    assert len(wrong) == 80
    assert sum(label != of_input[key] for key, label in wrong.items()) == 20
    for split in SPLITS:
        every = torch.arange(plain.size(split))
        for name, tensor in plain.examples(split, every).items():
            assert torch.equal(noisy.examples(split, every)[name], tensor)


def test_without_either_nothing_is_changed() -> None:
    task = loaded()
    assert torch.equal(task.rows("train", 1), torch.arange(task.size("train")))
    assert task.training_set.labels is None and made_fingerprints(task) == ""


def test_fingerprints_know_rows_and_labels() -> None:
    prints = [
        made_fingerprints(loaded(*given))
        for given in (["task.train_examples=50"], ["task.train_examples=60"], ["task.label_noise=0.1"],
                      ["task.label_noise=0.2"], ["task.label_noise=0.2", "task.train_examples=50"])
    ]  # fmt: skip
    assert len(set(prints)) == 5
    assert prints[4].startswith("train_examples rows:") and ", label_noise labels:" in prints[4]
    assert prints[4].split(",")[0] == prints[0]


@pytest.mark.parametrize("overrides, message", [
    (["task.train_examples=900"], "task.train_examples=900: the training split of digits has 898; give at"),
    (["task=subject", "task.train_examples=4"], "in task subject each seed has training examples of its own"),
    (["task=instruct", "task.label_noise=0.1"], "task.label_noise=0.1: task instruct does not learn classes"),
    (["task=glue", "task.subset=similarity", "task.label_noise=0.1"], "task glue similarity does not learn"),
    (["task.train_examples=0"], "task.train_examples=0 must be positive"),
    (["task.label_noise=1.5"], "task.label_noise=1.5 must be 1 or less"),
    (["task.label_noise=0.1,-0.1"], "task.label_noise=-0.1 must be zero or more"),
])  # fmt: skip
def test_what_a_task_cannot_have_is_refused_in_a_line(overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        loaded(*overrides)
    assert "\n" not in str(raised.value)


def test_classes_of_ones_own_texts(tmp_path: Path) -> None:
    data = write(tmp_path / "my.csv", rows_of(60, lambda i: "no" if i % 3 else "yes"))
    task = loaded("task=glue", f"task.data={data}", "task.subset=null", "task.label_noise=0.5")
    classes, labels = task.training_classes(), task.training_set.labels
    assert classes is not None and labels is not None
    assert int((classes != labels).sum()) == round(0.5 * task.size("train"))
    numbers = replace(task.settings, kind="regression", data=str(
        write(tmp_path / "numbers.csv", rows_of(60, lambda i: str(i / 7)))))  # fmt: skip
    with pytest.raises(UsageError, match="does not learn classes"):
        tasks.load(numbers)
