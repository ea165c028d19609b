"""What moves the runs of a pack: one optimizer for all, each run at its own rates and clipped alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from study.settings import TaskSettings
from study.training.hyperparameters import Hyperparameters
from study.training.packing import RunParameters
from study.training.schedule import learning_rate_share


def optimizer(
    parameters: RunParameters, runs: Sequence[Hyperparameters], settings: TaskSettings
) -> torch.optim.Optimizer:
    """One for all runs; each has its learning rate and weight decay, and its head the rate of heads."""
    groups: list[dict[str, Any]] = [
        {"params": [vector], "lr": run.lr, "weight_decay": run.settings.weight_decay}
        for vector, run in zip(parameters.adapters, runs, strict=True)
    ]
    if parameters.heads:
        groups += [
            {"params": [vector], "lr": settings.head_rate(run.lr), "weight_decay": run.settings.weight_decay}
            for vector, run in zip(parameters.heads, runs, strict=True)
        ]
    return torch.optim.AdamW(groups, fused=True)


def schedule(optimizer: torch.optim.Optimizer, settings: TaskSettings) -> torch.optim.lr_scheduler.LambdaLR:
    """Every group's rate in every step; magnitudes are refitted at a rate of their own, if they have one."""
    steps, refit_steps = settings.steps, settings.refit_steps or 0

    def share(step: int, lr: float) -> float:
        refits = refit_steps and step >= steps - refit_steps
        factor = (settings.refit_lr or lr) / lr if refits else 1.0
        return factor * learning_rate_share(step, steps, settings.warmup_steps, refit_steps)

    rates: list[Callable[[int], float]] = [
        functools.partial(share, lr=group["lr"]) for group in optimizer.param_groups
    ]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, rates)


def clip(parameters: RunParameters, grad: Tensor, largest: float) -> None:
    """Scales each run's gradient to a norm of at most `largest`, as clip_grad_norm_ does for one run."""
    shares = (largest / (grad.norm(dim=1) + 1e-6)).clamp(max=1.0)
    for run, share in enumerate(shares):
        for vector in parameters.of_run(run).vectors:
            if vector.grad is not None:
                vector.grad *= share
