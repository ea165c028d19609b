"""The learning rate of each step."""

from __future__ import annotations

import math


def learning_rate_share(step: int, steps: int, warmup_steps: int, refit_steps: int = 0) -> float:
    """Share of the peak learning rate in step `step`: linear warm-up, then cosine towards zero; and cosine
    towards zero again in the last `refit_steps`."""
    steps -= refit_steps
    if refit_steps and step >= steps:
        return learning_rate_share(step - steps, refit_steps, 0)
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))
