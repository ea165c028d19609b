"""The tasks: base model + data + loss + metrics. A new task is one file here and its YAML settings.

A task knows neither methods nor packs: the runs of a pack are folded into the leading axis of its
batches, whose every tensor has one row per example.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from study.errors import UsageError, nearest
from study.naming import SHIPPED, is_shipped
from study.paths import PACKAGE
from study.tasks.data_summary import DataSummary

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from study.settings import TaskSettings
    from study.tasks.training_set import TrainingSet

Batch = dict[str, "Tensor"]

SPLITS = ("train", "valid", "test")

FOLDER = PACKAGE / "tasks"

NO_TASKS = {"__init__", "data_summary", "training_set"}
"""Files of the folder that hold no task."""


class Task(ABC):
    """The contract. `rows` below is examples, times runs when a pack is trained.

    A task whose score needs something generated (a picture, a text) sets `generates`: losses are still made
    of what `forward` gives, predictions of what `sample` does.

    Attributes:
        metric: name of the primary metric in `metrics`.
        higher_is_better: its direction.
        lower_is_better: the further metrics in `metrics` of which less is better; of the others more is.
        trade_off: two further metrics of which the primary one is the harmonic mean; figures draw the one
            against the other.
        chance: what a guess reaches.
        generates: whether predictions are made of what `sample` gives, not of `forward`'s outputs.
        kept_pictures: how many test examples each run leaves pictures of; see `pictures`.
        head_modules: modules to train beside the adapter when `task.head_lr` is set.
        finetuned_parts: modules of the model that full finetuning trains, with all in them; if none is named,
            the whole model.
        padding: what pads rows that are shorter than others, by the tensor's name; 0 where it is not named.
    """

    metric: str
    higher_is_better: bool = True
    lower_is_better: Sequence[str] = ()
    trade_off: Sequence[str] = ()
    chance: float
    generates: bool = False
    kept_pictures: int = 0
    head_modules: Sequence[str] = ()
    finetuned_parts: Sequence[str] = ()
    padding: Mapping[str, int] = {}

    def __init__(self, settings: TaskSettings) -> None:
        self.settings = settings

    @abstractmethod
    def model(self) -> nn.Module:
        """A fresh copy of the frozen base model.

        Raises:
            UsageError: if the checkpoint is missing, corrupt or does not fit the data.
        """

    def models_beside(self, device: torch.device) -> Sequence[nn.Module]:
        """Frozen models that the task has on the device beside the base model, such as those that judge what
        is generated: a device's memory must hold them too."""
        return ()

    @abstractmethod
    def size(self, split: str) -> int:
        """Number of examples in one of SPLITS."""

    @abstractmethod
    def examples(self, split: str, indices: Tensor) -> Batch:
        """The examples at `indices`, (rows,), as tensors with one row each."""

    def rows(self, split: str, seed: int) -> Tensor:
        """Which examples of a split a run with this seed has: their indices, all of them by default, or those
        that the settings leave for training.

        A task of several subjects, of which each seed learns another, gives each seed its own. An index may
        stand there more than once; of what is scored, every seed has as many.
        """
        import torch

        return self.training_set.rows if split == "train" else torch.arange(self.size(split))

    def training_classes(self) -> Tensor | None:
        """Every training example's class, (size of the split,), of a task that learns the classes in the
        tensor `labels` of its batches: then `task.label_noise` can replace some, and `task.train_examples`
        takes as many of each."""
        return None

    @cached_property
    def training_set(self) -> TrainingSet:
        """What is trained on.

        Raises:
            UsageError: if the task cannot have what its settings ask for.
        """
        from study.tasks.training_set import training_set

        return training_set(self)

    @abstractmethod
    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        """What losses and predictions are made of: (rows, ...)."""

    @abstractmethod
    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        """One loss per row: (rows,)."""

    def sample(self, model: nn.Module, batch: Batch) -> Tensor:
        """What the model generates for each row: (rows, ...); only for tasks that generate.

        One call does the whole of it, so that the runs of a pack generate at once. The noise that it starts
        from is one of the batch's tensors: the same for every run.
        """
        raise NotImplementedError

    @abstractmethod
    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        """What the metrics need of each row, in floating point; nan where outputs are not finite.

        Args:
            outputs: what `forward` gave; `sample`, if the task generates.
        """

    @abstractmethod
    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        """Metrics of one run over a whole split, nan where predictions are; `metric` among them.

        One that is named `real_NAME` is what NAME is of the real thing in the place of what is generated, the
        same for every run of a seed: figures of NAME draw it as a line. So is `repeated_NAME`, of what was
        trained on, given out again.
        """

    def against_untouched(self, metrics: dict[str, float], untouched: dict[str, float]) -> dict[str, float]:
        """Further metrics, which compare a run on the test split with the untouched base model.

        Args:
            metrics: the run's, without the primary one.
            untouched: the base model's, on the same rows.
        """
        return {}

    def pictures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """What a run keeps to be looked at, by what it shows: (rows, 3, height, width) each, uint8, of one
        size. Asked for the first `kept_pictures` of a run's test examples, by name in the order of display;
        the last is what the run generated, those before it are the same for every run of a seed.

        Args:
            outputs: as for `predictions`.
        """
        raise NotImplementedError

    def drawn(self) -> dict[str, str]:
        """Fingerprints of what the task drew with its base model to train on, by the setting that it is for;
        `unknown` before it did. What a task without data from elsewhere draws is in its examples."""
        return {}

    def data_summary(self) -> DataSummary:
        """What was understood of the data, said before anything is trained; a task may say more than this."""
        return DataSummary(rows={split: self.size(split) for split in SPLITS})

    def collate(self, batches: Sequence[Batch]) -> Batch:
        """The rows of several batches in one; rows of different lengths, (rows, length), are padded."""
        import torch
        from torch.nn.functional import pad

        collated = {}
        for name in batches[0]:
            parts = [batch[name] for batch in batches]
            if parts[0].ndim == 2:
                longest, value = max(part.shape[1] for part in parts), self.padding.get(name, 0)
                parts = [pad(part, (0, longest - part.shape[1]), value=value) for part in parts]
            collated[name] = torch.cat(parts)
        return collated

    def batch(self, seed: int, step: int) -> Batch:
        """Training batch number `step` of a run with this seed: the same for every method and rate.

        Each epoch visits the examples in a new order; a last, smaller batch is left out.
        """
        import torch

        rows = self.rows("train", seed)
        size = min(self.settings.batch_size, len(rows))
        epoch, position = divmod(step, len(rows) // size)
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order = rows[torch.randperm(len(rows), generator=generator)]
        chosen = order[position * size : (position + 1) * size]
        return self.examples("train", chosen) | self.training_set.labels_of(chosen)

    def batches(self, split: str, rows: Tensor | None = None) -> Iterator[Batch]:
        """A split's examples at `rows` in this order, or all, `eval_batch_size` at a time."""
        import torch

        rows = torch.arange(self.size(split)) if rows is None else rows
        for indices in rows.split(self.settings.eval_batch_size):
            yield self.examples(split, indices)


def refuse_unused(settings: TaskSettings, names: Sequence[str], what: str) -> None:
    """Refuses settings that are given and would reach nothing.

    Args:
        what: the data or task that does not read them.

    Raises:
        UsageError: naming the first of them.
    """
    for name in names:
        if value := getattr(settings, name):
            raise UsageError(f"task.{name}={value} reaches nothing: {what} has no such choice")


def names() -> list[str]:
    """Every name that can stand behind `task=`: the files of this folder, one task each."""
    return sorted({path.stem for path in FOLDER.glob("*.py")} - NO_TASKS)


def load(settings: TaskSettings) -> Task:
    """The task that the settings name: the `Task` in its file, the first if there are several.

    Raises:
        UsageError: if there is none, from the task itself, or if it has no such training set.
    """
    module = importlib.import_module(f"study.tasks.{settings.name}")
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__:
            task = value(settings)
            _ = task.training_set  # refused before anything is made of the task
            return task
    raise UsageError(f"{module.__file__}: no task in it; define a subclass of study.tasks.Task")


SHARED = {"s2i": "portraits", "subject": "portraits", "vtab-width64": "vtab"}
"""Folders of shipped models that are not called as their task: several names stand for one model."""


def shipped_checkpoint(task: str, model: str = SHIPPED) -> Path:
    """Folder of a base model that ships with a task: of `shipped`, or of a further one, `shipped-width32`.

    Raises:
        UsageError: if the task has none of that name.
    """
    checkpoints = FOLDER / "checkpoints"
    name = task + model.removeprefix(SHIPPED)
    folder = checkpoints / SHARED.get(name, name)
    if folder.is_dir():
        return folder
    if model == SHIPPED:
        raise UsageError(f"task.model=shipped: no model ships with task {task}; give a hub name or a folder")
    known = {*SHARED, *(path.name for path in checkpoints.iterdir())}
    further = [SHIPPED + each.removeprefix(task) for each in known if each.startswith(f"{task}-")]
    raise UsageError(
        f"task.model={model}: no such model ships with task {task}; {nearest(model, [SHIPPED, *further])}"
    )


def base_model_path(settings: TaskSettings) -> str:
    """Hub name or folder of the base model that the settings name."""
    if is_shipped(settings.model):
        return str(shipped_checkpoint(settings.name, settings.model))
    return str(Path(settings.model).expanduser()) if settings.model.startswith("~") else settings.model
