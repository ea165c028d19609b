"""What a task's runs train on, where that is not the training split as it is: fewer examples, wrong labels.

It is a property of the data: the same for every method, learning rate and seed. Validation and test are
never touched.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from study.errors import UsageError
from study.settings import TaskSettings

if TYPE_CHECKING:
    from study.tasks import Batch, Task

ORDER_SEED, NOISE_SEED = 0, 1
"""Of the order in which examples are taken, and of which labels are wrong."""


@dataclass(frozen=True)
class TrainingSet:
    """The examples of the training split that are trained on.

    Attributes:
        rows: their indices, (examples,).
        labels: the class that each example of the split is trained with, (split,); None: its own.
        notes: what was done, in words.
        fingerprints: of rows and labels, by the setting that asked for them.
    """

    rows: Tensor
    labels: Tensor | None = None
    notes: tuple[str, ...] = ()
    fingerprints: dict[str, str] = field(default_factory=dict)

    def labels_of(self, rows: Tensor) -> Batch:
        """What takes the place of a batch's own labels: the tensor `labels`, or nothing."""
        return {} if self.labels is None else {"labels": self.labels[rows]}


def training_set(task: Task) -> TrainingSet:
    """As the task's settings ask for it.

    Raises:
        UsageError: if the split is smaller than what is asked for, or the task has no classes or no one
            training split.
    """
    settings, size = task.settings, task.size("train")
    rows, notes, fingerprints = torch.arange(size), [], {}
    if settings.train_examples is None and settings.label_noise is None:
        return TrainingSet(rows)
    _check(task, size)
    classes = task.training_classes()
    if settings.train_examples is not None:
        rows = nested_order(size, classes)[: settings.train_examples].sort().values
        fingerprints["train_examples"] = f"rows:{_digest(rows)}"
        notes.append(_words(settings, rows, size, classes))
    labels = None
    if settings.label_noise is not None and classes is not None:
        labels = noisy_labels(classes, rows, settings.label_noise)
        count = int((labels[rows] != classes[rows]).sum())
        fingerprints["label_noise"] = f"labels:{_digest(labels[rows])}"
        what = f"{count} of {len(rows)} training labels are those of another class"
        notes.append(f"task.label_noise={settings.label_noise:g}: {what}")
    return TrainingSet(rows, labels, tuple(notes), fingerprints)


def nested_order(size: int, classes: Tensor | None) -> Tensor:
    """The order in which examples are taken, (size,): the first n of it are the n that are trained on.

    Args:
        classes: (size,); of each class are taken as many, or one more, until a class has no more. None: the
            order is that of a shuffle.
    """
    shuffled = torch.randperm(size, generator=torch.Generator().manual_seed(ORDER_SEED))
    if classes is None:
        return shuffled
    turns = torch.empty(size, dtype=torch.long)  # an example's place among those of its class
    for each in classes.unique():
        of_class = classes[shuffled] == each
        turns[of_class] = torch.arange(int(of_class.sum()))
    return shuffled[turns.argsort(stable=True)]


def noisy_labels(classes: Tensor, rows: Tensor, share: float) -> Tensor:
    """The split's classes, (size,), with those of a share of `rows` replaced by another that there is.

    Which class takes the place of an example's own depends on neither rows nor share, and the labels that are
    wrong at a share are wrong at any larger one.
    """
    known = classes.unique()
    generator = torch.Generator().manual_seed(NOISE_SEED)
    turn = torch.randperm(len(classes), generator=generator)
    steps = torch.randint(1, len(known), (len(classes),), generator=generator)
    others = known[(torch.searchsorted(known, classes) + steps) % len(known)]
    wrong = rows[turn[rows].argsort()[: round(share * len(rows))]]
    labels = classes.clone()
    labels[wrong] = others[wrong]
    return labels


def _check(task: Task, size: int) -> None:
    from study.tasks import Task

    settings, wanted = task.settings, task.settings.train_examples
    if wanted is not None and type(task).rows is not Task.rows:
        raise UsageError(
            f"task.train_examples={wanted}: in task {settings.name} each seed has training examples of its "
            "own; leave it out"
        )
    if wanted is not None and wanted > size:
        raise UsageError(
            f"task.train_examples={wanted}: the training split of {settings.data} has {size}; give at most "
            f"{size}"
        )
    if settings.label_noise is None:
        return
    asked, classes = f"task.label_noise={settings.label_noise:g}", task.training_classes()
    if classes is None:
        of = f"{settings.name} {settings.subset}" if settings.subset else settings.name
        raise UsageError(
            f"{asked}: task {of} does not learn classes, whose labels could be wrong; leave it out"
        )
    if len(classes.unique()) < 2:
        raise UsageError(f"{asked}: all training examples of {settings.data} are of one class")


def _words(settings: TaskSettings, rows: Tensor, size: int, classes: Tensor | None) -> str:
    words = f"task.train_examples={settings.train_examples}: {len(rows)} of {size} training rows"
    if classes is not None:
        counts = [int((classes[rows] == each).sum()) for each in classes.unique()]
        least, most = min(counts), max(counts)
        words += f", {least} of each class" if least == most else f", {least} to {most} of each class"
    if settings.batch_size > len(rows):
        words += f"; a batch has all of them, not task.batch_size={settings.batch_size}"
    return words


def _digest(numbers: Tensor) -> str:
    return hashlib.sha256(numbers.long().contiguous().numpy().tobytes()).hexdigest()[:16]
