"""What tells the runs of one pack from each other."""

from __future__ import annotations

from dataclasses import dataclass, field

from study.settings import TaskSettings


@dataclass(frozen=True)
class Hyperparameters:
    """What may differ between the runs of one pack.

    Attributes:
        lr: peak learning rate of the adapter.
        seed: of initialisation and data order.
        settings: the run's, of which those in `study.settings.per_run_settings()` are read here; its pack's
            task has the others.
    """

    lr: float
    seed: int
    settings: TaskSettings = field(default_factory=TaskSettings)
