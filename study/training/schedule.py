"""The learning rate of each step, and the steps after which runs are measured."""

from __future__ import annotations

import math

from study.settings import TaskSettings


def learning_rate_share(step: int, steps: int, warmup_steps: int, refit_steps: int = 0) -> float:
    """Share of the peak learning rate in step `step`: linear warm-up, then cosine towards zero; and cosine
    towards zero again in the last `refit_steps`."""
    steps -= refit_steps
    if refit_steps and step >= steps:
        return learning_rate_share(step - steps, refit_steps, 0)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def evaluation_steps(settings: TaskSettings) -> set[int]:
    """The numbers of finished steps after which runs are measured; the last is among them."""
    count = min(settings.evaluations, settings.steps)
    return {round(settings.steps * (i + 1) / count) for i in range(count)}
