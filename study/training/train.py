"""Training one pack of runs, with score and geometry measured on the way."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from peft import PeftConfig
from torch import Tensor, nn

from study.settings import TaskSettings
from study.storage.checkpoints import Attempt, State
from study.tasks import Task
from study.training.geometry import Geometry, averages
from study.training.packing import Pack
from study.training.passes import backward, evaluate

DIVERGED_LOSS = 1.05
"""A run whose validation loss ends above this many times the one at step 0 has diverged."""


@dataclass(frozen=True)
class Hyperparameters:
    """What may differ between the runs of one pack."""

    lr: float
    seed: int
    weight_decay: float = 0.0
    noise: float = 0.0


@dataclass
class Outcome:
    """What one run leaves: columns of `study.schema` that training alone knows."""

    row: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    layers: list[dict[str, Any]] = field(default_factory=list)


def learning_rate_share(step: int, steps: int, warmup_steps: int) -> float:
    """Share of the peak learning rate in step `step`: linear warm-up, then cosine towards zero."""
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    return 0.5 * (1 + math.cos(math.pi * (step - warmup_steps) / max(1, steps - warmup_steps)))


def evaluation_steps(settings: TaskSettings) -> set[int]:
    """The numbers of finished steps after which runs are measured; the last is among them."""
    count = min(settings.evaluations, settings.steps)
    if not count:
        return set()
    return {round(settings.steps * (i + 1) / count) for i in range(count)}


class Training:
    """The runs of one pack in training. Gives `model` back as it was on `close`.

    Attributes:
        step: finished optimizer steps.
        diverged: per diverged run the step and the reason.
        outcomes: what the runs leave, filled on the way.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        config: PeftConfig,
        runs: Sequence[Hyperparameters],
        whole: bool = False,
    ) -> None:
        self.task, self.model, self.runs = task, model, runs
        torch.manual_seed(runs[0].seed)  # for dropout: the same wherever and whenever the pack trains
        self.pack = Pack(model, config, [run.seed for run in runs], whole)
        self.geometry = Geometry(self.pack)
        settings = task.settings
        for row, run in zip(self.pack.adapters, runs, strict=True):
            generator = torch.Generator().manual_seed(run.seed)
            row.data += run.noise * torch.randn(row.shape, generator=generator).to(row.device)
        self._first_lengths = [row.detach().norm().item() for row in self.pack.adapters]
        rates = [(run.lr, run.weight_decay) for run in runs]
        groups: list[dict[str, Any]] = [
            {"params": [row], "lr": lr, "weight_decay": decay}
            for row, (lr, decay) in zip(self.pack.adapters, rates, strict=True)
        ]
        if self.pack.heads:
            groups += [
                {"params": [row], "lr": settings.head_lr, "weight_decay": decay}
                for row, (_, decay) in zip(self.pack.heads, rates, strict=True)
            ]
        self.optimizer = torch.optim.AdamW(groups, fused=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer,
            lambda step: learning_rate_share(step, settings.steps, settings.warmup_steps),
        )
        self.step = 0
        self.diverged: dict[int, tuple[int, str]] = {}
        self.outcomes = [Outcome() for _ in runs]
        self._loss_sum = torch.zeros(len(runs), dtype=torch.float64, device=self.pack.device)
        self._losses_summed = 0
        self._began, self._step_seconds = time.perf_counter(), 0.0
        model.train()

    def train_step(self) -> None:
        """One forward, backward and optimizer step of every run that has not diverged."""
        start = time.perf_counter()
        settings, pack = self.task.settings, self.pack
        by_seed = {run.seed: self.task.batch(run.seed, self.step) for run in self.runs}
        losses, grad = backward(self.task, pack, [by_seed[run.seed] for run in self.runs])
        _mark_diverged(self.diverged, self.step, losses, grad)
        if settings.clip is not None:
            _clip(pack, grad, settings.clip)
        for run in self.diverged:  # keeps the parameters it had
            for rows in (pack.adapters, pack.heads):
                if rows:
                    rows[run].grad = None
        self.optimizer.step()
        pack.project()
        self.optimizer.zero_grad()
        self.schedule.step()
        self._loss_sum += losses.double()
        self._losses_summed += 1
        self.step += 1
        self._step_seconds += time.perf_counter() - start

    def measure(self) -> None:
        """Adds a point to every run's history, and renews its per-layer geometry."""
        with torch.no_grad():
            self.pack.bind()
        scores, losses = evaluate(self.task, self.model, "valid", self.pack)
        means = self._loss_sum / self._losses_summed if self._losses_summed else self._loss_sum * math.nan
        for run, layers in enumerate(self.geometry.measure()):
            self.outcomes[run].layers = layers
            self.outcomes[run].history.append(
                {
                    "step": self.step,
                    "train_loss": means[run].item(),
                    "valid": scores[run],
                    "valid_loss": losses[run],
                    **averages(layers),
                    "parameter_growth": self._growth(run),
                }
            )
        self._loss_sum.zero_()
        self._losses_summed = 0

    def _growth(self, run: int) -> float:
        """Length of the adapter's parameters over what it was at step 0."""
        first = self._first_lengths[run]
        return self.pack.adapters[run].detach().norm().item() / first if first else math.nan

    def finish(self, base_scores: dict[str, float]) -> list[Outcome]:
        """Tests the runs as they are and fills in their rows; `measure` must have been called last.

        Args:
            base_scores: primary metric of the untouched base model per split, for the records.
        """
        task, count = self.task, len(self.runs)
        tests, _ = evaluate(task, self.model, "test", self.pack)
        for run, outcome in enumerate(self.outcomes):
            first, last = outcome.history[0]["valid_loss"], outcome.history[-1]["valid_loss"]
            valid = outcome.history[-1]["valid"]
            if run not in self.diverged and not last <= DIVERGED_LOSS * first:
                reason = f"validation loss {last:.4g} at the end, {first:.4g} at step 0"
                self.diverged[run] = (self.step, reason)
            step, reason = self.diverged.get(run, (None, ""))
            outcome.row = {
                "status": "diverged" if run in self.diverged else "ok",
                "reason": reason,
                "diverged_at": step,
                "metric": task.metric,
                "higher_is_better": task.higher_is_better,
                "chance": task.chance,
                "base_valid": base_scores["valid"],
                "base_test": base_scores["test"],
                "valid": valid if math.isfinite(valid) else task.chance,
                "test": tests[run] if math.isfinite(tests[run]) else task.chance,
                "loss_first": first if math.isfinite(first) else math.nan,
                "loss_last": last if math.isfinite(last) else math.nan,
                "steps": self.step,
                "parameters": self.pack.parameters,
                **averages(outcome.layers),
                "parameter_growth": self._growth(run),
                "seconds": (time.perf_counter() - self._began) / count,
                "step_seconds": self._step_seconds / max(1, self.step) / count,
                "pack_size": count,
            }
        return self.outcomes

    def state(self) -> State:
        """All that a later process needs to go on bit for bit; the data's position is the step."""
        tensors = {"loss_sum": self._loss_sum, "random": torch.get_rng_state()}
        if self.pack.device.type == "cuda":
            tensors["random_cuda"] = torch.cuda.get_rng_state(self.pack.device)
        for name, row in self._rows():
            tensors[name] = row.detach()
            for key, value in self.optimizer.state.get(row, {}).items():
                tensors[f"{name}.{key}"] = value
        facts = {
            "step": self.step,
            "diverged": [[run, *found] for run, found in self.diverged.items()],
            "losses_summed": self._losses_summed,
            "first_lengths": self._first_lengths,
            "seconds": time.perf_counter() - self._began,
            "step_seconds": self._step_seconds,
            "histories": [outcome.history for outcome in self.outcomes],
            "layers": [outcome.layers for outcome in self.outcomes],
        }
        return tensors, facts

    def restore(self, state: State) -> None:
        """Goes on from what `state` gave, of the same runs."""
        tensors, facts = state
        torch.set_rng_state(tensors["random"])
        if "random_cuda" in tensors and self.pack.device.type == "cuda":
            torch.cuda.set_rng_state(tensors["random_cuda"], self.pack.device)
        self._loss_sum.copy_(tensors["loss_sum"])
        for name, row in self._rows():
            row.data.copy_(tensors[name])
            own = {k.removeprefix(f"{name}."): v for k, v in tensors.items() if k.startswith(f"{name}.")}
            if own:
                self.optimizer.state[row] = {key: value.to(row.device) for key, value in own.items()}
        self.step, self._losses_summed = facts["step"], facts["losses_summed"]
        self.diverged = {run: (step, reason) for run, step, reason in facts["diverged"]}
        self._first_lengths = facts["first_lengths"]
        self._began -= facts["seconds"]
        self._step_seconds = facts["step_seconds"]
        for outcome, history, layers in zip(self.outcomes, facts["histories"], facts["layers"], strict=True):
            outcome.history, outcome.layers = history, layers
        self.schedule.last_epoch = self.step
        for group, rate in zip(self.optimizer.param_groups, self.schedule.get_lr(), strict=True):
            group["lr"] = rate

    def _rows(self) -> Iterator[tuple[str, Tensor]]:
        """Every trained row under a name of its own."""
        for kind, rows in (("adapter", self.pack.adapters), ("head", self.pack.heads)):
            for run, row in enumerate(rows):
                yield f"{kind}-{run}", row

    def close(self) -> None:
        self.pack.close()


def train(
    task: Task,
    model: nn.Module,
    config: PeftConfig,
    runs: Sequence[Hyperparameters],
    base_scores: dict[str, float],
    attempt: Attempt | None = None,
    keep: Callable[[Pack], None] = lambda pack: None,
    whole: bool = False,
) -> list[Outcome]:
    """Trains the runs together on the frozen `model` from start to end and measures them.

    Args:
        base_scores: primary metric of the untouched base model per split, for the records.
        attempt: where checkpoints are kept and found, and what can stop the training.
        keep: called with the trained pack at the end.
        whole: how the runs are mapped, see `study.training.packing`.

    Raises:
        Stopped, Superseded, CannotWrite: from `attempt`.
    """
    due = evaluation_steps(task.settings)
    training = Training(task, model, config, runs, whole)
    try:
        saved = attempt.load() if attempt else None
        if saved:
            training.restore(saved)
        else:
            training.measure()
        while training.step < task.settings.steps:
            training.train_step()
            if training.step in due:
                training.measure()
            if attempt:
                attempt.keep(training.step, training.state)
        with torch.no_grad():
            training.pack.bind()
        outcomes = training.finish(base_scores)
        keep(training.pack)
        return outcomes
    finally:
        training.close()


def _mark_diverged(diverged: dict[int, tuple[int, str]], step: int, losses: Tensor, grad: Tensor) -> None:
    """Notes the runs whose loss or gradient, (runs,) and (runs, numbers), is no longer finite."""
    finite_loss = torch.isfinite(losses)
    finite = finite_loss & torch.isfinite(grad).all(1)
    if not finite.all():
        for run in torch.nonzero(~finite).flatten().tolist():
            what = "gradient" if finite_loss[run] else "loss"
            diverged.setdefault(run, (step, f"{what} not finite in step {step}"))


def _clip(pack: Pack, grad: Tensor, largest: float) -> None:
    """Scales each run's own gradient to a norm of at most `largest`, as clip_grad_norm_ does for one."""
    shares = (largest / (grad.norm(dim=1) + 1e-6)).clamp(max=1.0)
    for rows in (pack.adapters, pack.heads):
        for run, row in enumerate(rows):
            assert row.grad is not None
            row.grad *= shares[run]
