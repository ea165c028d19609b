"""Training one pack of runs, with score and geometry measured on the way."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from peft import PeftConfig
from torch import Tensor, nn

from study.planning.profile import RunMapping
from study.planning.progress import PackProgress
from study.storage.checkpoints import Attempt
from study.storage.rows import HistoryRow
from study.storage.state_file import State
from study.tasks import Task
from study.training.frozen_base import train_mode
from study.training.geometry import Geometry
from study.training.hyperparameters import Hyperparameters
from study.training.optimizer import clip, optimizer, schedule
from study.training.outcome import Effort, Measurement, Measurements, PausedRun, TrainedRun, outcome_of
from study.training.pack_state import joined, of_runs
from study.training.packing import PackedModel, RunParameters, pack
from study.training.passes import Scores, evaluate_runs, forward_backward, pictures_of_runs, training_batches
from study.training.recorded_passes import RecordedPasses
from study.training.refit import Refit
from study.training.sharpness import measure_sharpness


class Training:
    """The runs of one pack in training. Gives `model` back as it was on `close`.

    Attributes:
        packed, parameters: the runs over the one model, and what is trained of them.
        step: finished optimizer steps.
        diverged: per diverged run the step and the reason.
        sharpness_start: of every run before training, once it was measured; empty if it is not wanted.
    """

    def __init__(
        self,
        task: Task,
        model: nn.Module,
        config: PeftConfig,
        runs: Sequence[Hyperparameters],
        mapping: RunMapping = RunMapping.LAYERS,
        cuda_graphs: bool = False,
    ) -> None:
        self.task, self.model, self.runs = task, model, runs
        self.packed, self.parameters = pack(model, config, [run.seed for run in runs], mapping)
        self.geometry = Geometry(self.packed, task.settings.energy)
        for vector, run in zip(self.parameters.adapters, runs, strict=True):
            generator = torch.Generator().manual_seed(run.seed)
            move = torch.randn(vector.shape, generator=generator).to(vector.device)
            vector.data += run.settings.noise * move
        self._first_lengths = [vector.detach().norm().item() for vector in self.parameters.adapters]
        self.optimizer = optimizer(self.parameters, runs, task.settings)
        self.schedule = schedule(self.optimizer, task.settings)
        # Checkpointing looks at random generators, and what is not mapped but looped decides as it goes.
        can_record = mapping is not RunMapping.LOOPS and not task.settings.gradient_checkpointing
        on_gpu = self.packed.device.type == "cuda"
        self.recorded = RecordedPasses() if cuda_graphs and on_gpu and can_record else None
        self.refit = Refit(self.packed, task.settings) if task.settings.refit_steps else None
        self.step = 0
        self.diverged: dict[int, tuple[int, str]] = {}
        self.sharpness_start: list[float] = []
        self._loss_sum = torch.zeros(len(runs), dtype=torch.float64, device=self.packed.device)
        self._losses_summed = 0
        self._began, self._step_seconds = time.perf_counter(), 0.0
        train_mode(model)

    def train_step(self) -> Tensor:
        """One forward, backward and optimizer step of every run that has not diverged.

        Returns:
            Each run's mean loss on its batch before the step, (runs,).
        """
        start = time.perf_counter()
        settings, parameters = self.task.settings, self.parameters
        batches = training_batches(self.task, self.packed.streams.seeds, self.step)
        losses, grad = forward_backward(self.task, self.packed, parameters, batches, self.step, self.recorded)
        _mark_diverged(self.diverged, self.step, losses, grad)
        refit = self.refit
        with refit.held(self.step, parameters, grad, self.optimizer) if refit else contextlib.nullcontext():
            if settings.clip is not None:
                clip(parameters, grad, settings.clip)
            for run in self.diverged:  # keeps the parameters it had
                for vector in parameters.of_run(run).vectors:
                    vector.grad = None
            self.optimizer.step()
            self.packed.project(parameters)
        self.optimizer.zero_grad()
        self.schedule.step()
        self._loss_sum += losses.double()
        self._losses_summed += 1
        self.step += 1
        self._step_seconds += time.perf_counter() - start
        return losses

    def measure(self) -> Measurement:
        """Score, loss and geometry of every run as it is now, and its training loss since the last time."""
        flat = self.flat()
        scores = evaluate_runs(self.task, self.packed, flat, "valid")
        means = self._loss_sum / self._losses_summed if self._losses_summed else self._loss_sum * math.nan
        layers = self.geometry.measure(flat)
        points = [
            HistoryRow(
                step=self.step,
                train_loss=means[run].item(),
                valid=scores[run].primary,
                valid_loss=scores[run].loss,
                **self.geometry.summary(layers[run]),
                parameter_growth=self._growth(run),
                further=scores[run].further,
            )
            for run in range(len(self.runs))
        ]
        self._loss_sum.zero_()
        self._losses_summed = 0
        return Measurement(points, layers)

    def measure_sharpness(self) -> list[float]:
        """Of every run as it is now; empty if it is not wanted."""
        if not self.task.settings.sharpness:
            return []
        return measure_sharpness(self.task, self.packed, self.parameters)

    @torch.no_grad()
    def flat(self) -> Tensor:
        """A copy of the runs' parameters as they are now, (runs, num_params)."""
        return self.parameters.flat.clone()

    def _growth(self, run: int) -> float:
        """Length of the adapter's parameters over what it was at step 0."""
        first = self._first_lengths[run]
        return self.parameters.adapters[run].detach().norm().item() / first if first else math.nan

    def finish(
        self, measured: Measurements, base_scores: Mapping[int, Mapping[str, Scores]]
    ) -> list[TrainedRun]:
        """Tests the runs as they are, and says how they ended.

        Args:
            measured: of these runs, from step 0 to the last.
            base_scores: of the untouched base model, by seed and split, for the records.
        """
        flat = self.flat()
        tests = evaluate_runs(self.task, self.packed, flat, "test")
        pictures = pictures_of_runs(self.task, self.packed, flat)
        sharpness, effort = self.measure_sharpness(), self._effort()
        trained = []
        for run, (history, layers) in enumerate(zip(measured.histories, measured.layers, strict=True)):
            diverged = self.diverged.get(run)
            untouched = base_scores[self.runs[run].seed]
            outcome = outcome_of(self.task, untouched, history, tests[run], diverged, effort)
            if sharpness:
                end = sharpness[run] if outcome.status == "ok" else math.nan
                outcome = dataclasses.replace(outcome, sharpness=(self.sharpness_start[run], end))
            trained.append(TrainedRun(outcome, tuple(history), tuple(layers), pictures[run]))
        return trained

    def pause(
        self, measured: Measurements, base_scores: Mapping[int, Mapping[str, Scores]]
    ) -> list[TrainedRun]:
        """What the runs leave if they are pruned as they are now; arguments as of `finish`."""
        effort, pruned = self._effort(), []
        for run, (history, layers) in enumerate(zip(measured.histories, measured.layers, strict=True)):
            untouched = base_scores[self.runs[run].seed]
            outcome = outcome_of(self.task, untouched, history, None, self.diverged.get(run), effort)
            if self.sharpness_start:
                outcome = dataclasses.replace(outcome, sharpness=(self.sharpness_start[run], math.nan))
            pruned.append(TrainedRun(outcome, tuple(history), tuple(layers), {}))
        return pruned

    def _effort(self) -> Effort:
        count = len(self.runs)
        return Effort(
            steps=self.task.settings.steps,
            parameters=self.packed.parameter_count,
            seconds=(time.perf_counter() - self._began) / count,
            step_seconds=self._step_seconds / max(1, self.step) / count,
            pack_size=count,
        )

    def state(self) -> State:
        """All that a later process needs to go on bit for bit; data and random numbers follow the step."""
        tensors = {"loss_sum": self._loss_sum}
        for name, vector in self.parameters.named():
            tensors[name] = vector.detach()
            for key, value in self.optimizer.state.get(vector, {}).items():
                tensors[f"{name}.{key}"] = value
        facts = {
            "step": self.step,
            "diverged": [[run, *when_and_why] for run, when_and_why in self.diverged.items()],
            "losses_summed": self._losses_summed,
            "first_lengths": self._first_lengths,
            "sharpness_start": self.sharpness_start,
            "seconds": time.perf_counter() - self._began,
            "step_seconds": self._step_seconds,
        }
        return tensors, facts

    def restore(self, state: State) -> None:
        """Goes on from what `state` gave, of the same runs."""
        tensors, facts = state
        self._loss_sum.copy_(tensors["loss_sum"])
        for name, vector in self.parameters.named():
            vector.data.copy_(tensors[name])
            prefix = f"{name}."
            moments = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            if moments:
                self.optimizer.state[vector] = {key: v.to(vector.device) for key, v in moments.items()}
        self.step, self._losses_summed = facts["step"], facts["losses_summed"]
        self.diverged = {run: (step, reason) for run, step, reason in facts["diverged"]}
        self._first_lengths = facts["first_lengths"]
        self.sharpness_start = facts.get("sharpness_start", [])
        self._began -= facts["seconds"]
        self._step_seconds = facts["step_seconds"]
        self.schedule.last_epoch = self.step
        for group, rate in zip(self.optimizer.param_groups, self.schedule.get_lr(), strict=True):
            group["lr"] = rate

    def progress(self, measured: Measurements, until: int) -> PackProgress:
        """How far the runs have come on their way to step `until`, given what was measured of them so far."""
        return PackProgress(
            runs=len(self.runs),
            step=self.step,
            steps=until,
            seconds=time.perf_counter() - self._began,
            diverged=len(self.diverged),
            metric=self.task.metric,
            best=measured.best(self.task.higher_is_better),
        )

    def close(self) -> None:
        self.packed.close()


def train(
    task: Task,
    model: nn.Module,
    config: PeftConfig,
    runs: Sequence[Hyperparameters],
    base_scores: Callable[[int], Mapping[str, Scores]],
    attempt: Attempt | None = None,
    save: Callable[[PackedModel, RunParameters], None] = lambda packed, parameters: None,
    mapping: RunMapping = RunMapping.LAYERS,
    cuda_graphs: bool = False,
    until: int | None = None,
) -> list[TrainedRun] | list[PausedRun]:
    """Trains the runs together on the frozen `model` and measures them: to their end, or up to a rung.

    Args:
        base_scores: a seed's, of the untouched base model, per split; for the records.
        attempt: where checkpoints are written and read, and what can stop the training.
        save: called with the runs at the end, as they are trained.
        mapping: how the runs train together.
        cuda_graphs: whether a GPU replays recorded steps.
        until: the step at which the runs are paused, one at which they are measured; None for their end.

    Raises:
        Stopped, Superseded, CannotWrite: from `attempt`.
    """
    due = task.settings.evaluation_steps()
    until = task.settings.steps if until is None else until
    untouched = {run.seed: base_scores(run.seed) for run in runs}  # while the model still is
    with contextlib.closing(Training(task, model, config, runs, mapping, cuda_graphs)) as training:
        measured = Measurements(len(runs))

        def state() -> State:
            tensors, facts = training.state()
            return tensors, facts | {"measured": measured.to_json()}

        if saved := attempt.load() if attempt else []:
            state_of_runs = joined([of_runs(each.state, each.rows) for each in saved])
            training.restore(state_of_runs)
            measured = Measurements.from_json(state_of_runs[1]["measured"])
        else:
            training.sharpness_start = training.measure_sharpness()
            measured.add(training.measure())
        while training.step < until:
            if attempt:
                attempt.tell(lambda: training.progress(measured, until))
            training.train_step()
            if training.step in due:
                measured.add(training.measure())
            if attempt:
                attempt.keep(training.step, state)
        if until < task.settings.steps:
            whole = state()
            states = [of_runs(whole, [run]) for run in range(len(runs))]
            return [PausedRun(*run) for run in zip(training.pause(measured, untouched), states, strict=True)]
        trained = training.finish(measured, untouched)
        save(training.packed, training.parameters)
        return trained


def _mark_diverged(diverged: dict[int, tuple[int, str]], step: int, losses: Tensor, grad: Tensor) -> None:
    """Notes the runs whose loss or gradient, (runs,) and (runs, num_params), is no longer finite."""
    if torch.isfinite(losses + grad.sum(1)).all():  # then all are: a look at each takes four passes
        return
    finite_loss = torch.isfinite(losses)
    finite = finite_loss & torch.isfinite(grad).all(1)
    if not finite.all():
        for run in torch.nonzero(~finite).flatten().tolist():
            what = "gradient" if finite_loss[run] else "loss"
            diverged.setdefault(run, (step, f"{what} not finite in step {step}"))
