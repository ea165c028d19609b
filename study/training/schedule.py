"""The learning rate of each step, and the steps after which runs are measured."""

from __future__ import annotations

import math

from study.settings import TaskSettings


def learning_rate_share(step: int, steps: int, warmup_steps: int) -> float:
    """Share of the peak learning rate in step `step`: linear warm-up, then cosine towards zero."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def evaluation_steps(settings: TaskSettings) -> set[int]:
    """The numbers of finished steps after which runs are measured; the last is among them."""
    count = min(settings.evaluations, settings.steps)
    return {round(settings.steps * (i + 1) / count) for i in range(count)}
