"""What was understood of a task's data: what a user wants to see before anything is trained on it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Lengths:
    """How long the examples are, and what becomes of those that are too long.

    Attributes:
        unit: what is counted, such as `tokens`.
        longest: length of the longest example as it is given, before anything is cut.
        limit: length at which an example is cut; None if nothing is.
        cut: how many examples are longer than that, over all splits.
    """

    unit: str
    longest: int
    limit: int | None = None
    cut: int = 0


@dataclass(frozen=True)
class DataSummary:
    """What was understood of a task's data.

    Attributes:
        rows: number of examples by split: `train`, `valid`, `test`.
        kind: what is learnt: `classification`, `regression`, `instruction tuning`, ...; empty if the task
            does not say.
        columns: what is read from where, such as `text: review` and `label: sentiment`; empty for data that
            the task makes itself.
        classes: training examples by class, in the order of the classes' numbers; empty if there are none.
        lengths: None where examples have no length.
        notes: everything that was decided by rule, such as `validation: 10 % of training held out`.
    """

    rows: dict[str, int]
    kind: str = ""
    columns: tuple[str, ...] = ()
    classes: dict[str, int] = field(default_factory=dict)
    lengths: Lengths | None = None
    notes: tuple[str, ...] = ()
