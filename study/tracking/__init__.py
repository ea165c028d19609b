"""Trackers: wandb, mlflow, trackio, TensorBoard. They are told of runs that have ended, from their records.

A tracker is one file here with one subclass of `Tracker`, and its name in `study.settings.TRACKERS`. The
coordinator tells it, in a thread (`background`): whatever a tracker does, no run waits for it or fails.
Everything is kept on this machine, in `tracking/` in the study's folder, unless the tracker's own environment
variables say otherwise.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from study.errors import UsageError
from study.settings import TRACKERS
from study.storage.rows import METRIC, RunRecord

CURVES = (
    "train_loss", "valid", "valid_loss", "transform_distance", "weight_distance", "he_change",
    "parameter_growth",
)  # fmt: skip
"""What is drawn over steps."""

RESULTS = (
    "valid",
    "test",
    "loss_first",
    "loss_last",
    "parameters",
    "seconds",
    "weight_distance",
    "he_change",
)
"""What is kept of a run's end."""


class Tracker(ABC):
    """A tracker of one study's runs.

    Args:
        folder: the study's.

    Attributes:
        package: that it needs.
    """

    package: ClassVar[str]

    def __init__(self, folder: Path) -> None:
        self.study, self.folder = folder.resolve().name, folder / "tracking"
        self.folder.mkdir(parents=True, exist_ok=True)

    @abstractmethod
    def log(self, record: RunRecord) -> None:
        """Tells of one run that has ended: settings, curves, results."""


def check(name: str) -> None:
    """Raises UsageError if there is no such tracker, or its package is not installed."""
    if name not in TRACKERS:
        raise UsageError(f"unknown tracker {name!r}; there are: {', '.join(TRACKERS)}")
    package = _class(name).package
    if importlib.util.find_spec(package) is None:
        raise UsageError(f"{name} needs the package {package}: pip install 'ether-study[track]'")


def load(name: str, folder: Path) -> Tracker:
    """The tracker of this name, for the study in a folder. Raises UsageError as `check` does."""
    check(name)
    return _class(name)(folder)


def _class(name: str) -> type[Tracker]:
    module = importlib.import_module(f"{__name__}.{name}")
    (found,) = (
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Tracker) and value is not Tracker
    )
    return found


def title(record: RunRecord) -> str:
    """`ether lr=0.01 seed=3`"""
    return f"{group(record)} seed={record.identity.seed}"


def group(record: RunRecord) -> str:
    """What the seeds of one method, with its options, and rate have in common: `ether blocks=4 lr=0.01`."""
    identity = record.identity
    prefix = f"method.{identity.method}."
    options = [f"{k.removeprefix(prefix)}={v}" for k, v in identity.settings.items() if k.startswith(prefix)]
    return " ".join([identity.method, *options, f"lr={identity.lr:g}"])


def settings(record: RunRecord) -> dict[str, object]:
    """The run's settings and what made it."""
    identity, circumstances = record.identity, record.circumstances
    named = {
        name: getattr(identity, name) for name in ("run_id", "sweep", "task", "scale", "method", "lr", "seed")
    }
    made_by = {"versions": circumstances.versions, "git_sha": circumstances.git_sha}
    return {**named, **identity.settings, **made_by}


def curves(record: RunRecord) -> list[tuple[int, dict[str, float]]]:
    """What was measured at each step that was; without what is not finite, which trackers cannot draw."""
    points = []
    for point in record.history:
        values = {name: getattr(point, name) for name in CURVES}
        values |= {f"{METRIC}{name}": value for name, value in point.further.items()}
        points.append((point.step, {name: v for name, v in values.items() if math.isfinite(v)}))
    return points


def results(record: RunRecord) -> dict[str, float]:
    """How the run ended, in numbers."""
    values = {f"end.{name}": float(getattr(record.outcome, name)) for name in RESULTS}
    values |= {f"end.{METRIC}{name}": float(value) for name, value in record.outcome.further.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}
