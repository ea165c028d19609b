"""A worker: does jobs, leaves records. `study.training.process` is one as a process of its own."""

from __future__ import annotations

import dataclasses
import gc
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from study import tasks
from study.errors import UsageError, first_line
from study.launchers.processes import folders
from study.planning.jobs import (
    Answer,
    CannotStore,
    Died,
    Estimated,
    EstimateJob,
    Fetched,
    FetchJob,
    Inspected,
    InspectJob,
    Job,
    Probed,
    ProbeJob,
    Refused,
    Trained,
    TrainJob,
)
from study.planning.runs import PER_RUN, Run, canonical, digest
from study.storage import adapters, paused, pictures, records
from study.storage.adapters import card
from study.storage.checkpoints import Attempt, Stopped, Superseded
from study.storage.files import CannotWrite
from study.storage.provenance import provenance
from study.storage.rows import Circumstances, Identity, Outcome, RunRecord
from study.tasks import Task
from study.tasks.loading.fingerprint import model_fingerprint
from study.tasks.loading.pretrained import skeletons
from study.training.adaptation import peft_config
from study.training.core_clock import CoreClock
from study.training.failure import failure_line
from study.training.frozen_base import BaseSeal
from study.training.hyperparameters import Hyperparameters
from study.training.inspection import (
    LoadedTask,
    inspection,
    is_out_of_reach,
    why_changed,
)
from study.training.memory import estimate
from study.training.outcome import PausedRun
from study.training.packing import PackedModel, RunParameters
from study.training.passes import BaseScores, base_model
from study.training.probe import is_out_of_memory, profile
from study.training.save_adapter import save_adapter
from study.training.train import TrainedRun, train


class Base(NamedTuple):
    """What runs start from: a task, its base model on the device, and that model's scores.

    Attributes:
        seal: tells whether the model still is what it was.
    """

    task: Task
    model: nn.Module
    scores: BaseScores
    seal: BaseSeal


class Worker:
    """Does jobs one after the other and keeps the base model of the last one loaded.

    Args:
        stop: asked after every training step; once it is true, `do` saves and raises `Stopped`.
    """

    def __init__(self, device: torch.device, stop: Callable[[], bool]) -> None:
        self.device, self.stop = device, stop
        self._task = LoadedTask()
        self._loaded: tuple[str, Base] | None = None

    def do(self, job: Job) -> Answer:
        """Does a job of any kind; what nobody foresaw is an answer, too.

        Raises:
            Stopped: when asked to stop while training, after saving.
            Superseded: when a later attempt has the pack.
        """
        try:
            return self._do(job)
        except (Stopped, Superseded):
            raise
        except Exception as error:
            traceback.print_exc()
            self._loaded = None
            return Died(1, f"{job.title}: {type(error).__name__}: {first_line(error)}")

    def _do(self, job: Job) -> Answer:
        match job:
            case TrainJob():
                return self._train(job)
            case ProbeJob():
                return self._probe(job)
            case EstimateJob():
                return self._estimate(job)
            case InspectJob():
                return self._inspect(job)
            case FetchJob():
                return self._fetch(job)

    def _base(self, run: Run) -> Base:
        """What the run starts from; the last one used is kept."""
        key = digest(canonical(run.task, leave_out=PER_RUN))
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None
            task, found = self._task.load(run.task)
            model = base_model(task, self.device)
            if model_fingerprint(task) != found.model:
                raise UsageError(f"task.model={run.task.model} changed while it was read; run it again")
            self._loaded = (key, Base(task, model, BaseScores(task, model), BaseSeal(model)))
        return self._loaded[1]

    def _probe(self, job: ProbeJob) -> Probed | Refused:
        run, model = job.run, None
        try:
            task, model, _, seal = self._base(run)
            config = peft_config(run, task, model)
            clock = CoreClock()
            measured = profile(task, model, config, job.num_runs, job.pack_size, job.memory_gb)
            seal.check()
            return Probed(measured, clock.disturbed() if self.device.type == "cpu" else "")
        except Exception as error:
            self._loaded = None  # it may have been left with adapters in it
            if is_out_of_memory(error):
                size = job.pack_size or 1
                return Refused(f"method {run.method}: out of memory with {size} runs in a pack")
            return _refused(run, error, model)

    def _estimate(self, job: EstimateJob) -> Estimated | Refused:
        run, model = job.run, None
        try:
            task, _ = self._task.load(run.task)
            with skeletons():
                model = base_model(task, torch.device("meta"))
                return Estimated(estimate(task, model, peft_config(run, task, model)))
        except Exception as error:
            return _refused(run, error, model)

    def _inspect(self, job: InspectJob) -> Inspected | Refused:
        settings = job.runs[0].task
        try:
            task, found = self._task.load(settings)
            return Inspected(inspection(task, found, job.runs, peft_config))
        except UsageError as error:
            return Refused(str(error), is_out_of_reach(error))
        except Exception as error:
            traceback.print_exc()
            where = f"task {settings.name} with task.model={settings.model}"
            return Refused(f"{where}: {type(error).__name__}: {first_line(error)}")

    def _fetch(self, job: FetchJob) -> Fetched | Refused:
        try:
            tasks.load(job.run.task).model()
        except Exception as error:
            return _refused(job.run, error, None)
        return Fetched()

    def _train(self, job: TrainJob) -> Trained | CannotStore | Refused:
        """Trains a pack and writes its records, if data, model and versions are as it was planned with.

        A pack that does not fit in memory is cut in two, and so are its halves; each leaves its own records.
        """
        folder, pack_id = Path(job.folder), job.pack_id
        if statuses := records.read_statuses(folder, pack_id):
            return Trained(tuple(statuses))  # another attempt finished it
        try:
            found = self._task.load(job.runs[0].task)[1]
        except UsageError as error:
            return Refused(str(error))
        if changed := why_changed(job, found, provenance()):
            return Refused(changed)
        job = dataclasses.replace(job, fingerprints=found)
        try:
            attempt = Attempt(folder, [run.run_id for run in job.runs], job.checkpoint_s, self.stop)
            pack_records = self._pack_records(job, attempt)
            if pack_records is None:
                attempt.close()
                return _joined([self._train(half) for half in job.split(again=True)])
            if all(record.outcome.status == "pruned" for record in pack_records):
                attempt.close()
                return Trained(("paused",) * len(job.runs))
            if not records.write(folder, pack_id, pack_records):
                print("the records of another attempt were there first", flush=True)
            attempt.close()
            paused.forget(folder, attempt.run_ids)
        except CannotWrite as error:
            return CannotStore(str(error))
        return Trained(tuple(records.read_statuses(folder, pack_id)))

    def _pack_records(self, job: TrainJob, attempt: Attempt) -> list[RunRecord] | None:
        """What the runs leave, also where they fail; None if they are to be tried again in halves.

        Runs that end at a rung are kept there; what they leave if they are pruned is not written yet.
        """
        try:
            return self._trained_records(job, attempt)
        except (Stopped, Superseded, CannotWrite):
            self._loaded = None  # the attempt ended between a step and the next
            raise
        except Exception as error:
            traceback.print_exc()
            reason = failure_line(error, job.runs[0], self._loaded[1].model if self._loaded else None)
            out_of_memory = is_out_of_memory(error)
        self._loaded = None  # it may have been left with adapters in it
        if out_of_memory:
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            reason = f"out of memory in a pack of {len(job.runs)} ({reason})"
            if job.split(again=True):
                print(reason, flush=True)
                return None
        circumstances, outcome = self._circumstances(job, attempt), Outcome(status="failed", reason=reason)
        return [RunRecord(Identity.of(run, job.sweep), outcome, circumstances) for run in job.runs]

    def _trained_records(self, job: TrainJob, attempt: Attempt) -> list[RunRecord]:
        task, model, scores, seal = self._base(job.runs[0])
        config = peft_config(job.runs[0], task, model)
        hyperparameters = [Hyperparameters(run.lr, run.seed, run.task) for run in job.runs]

        def save(packed: PackedModel, parameters: RunParameters) -> None:
            if job.save_adapters:
                for index, run in enumerate(job.runs):
                    adapter_folder = adapters.new_folder(Path(job.folder), run)
                    save_adapter(packed, parameters, index, adapter_folder)

        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        ended = train(
            task,
            model,
            config,
            hyperparameters,
            scores,
            attempt,
            save,
            job.mapping,
            job.cuda_graphs,
            job.until,
        )
        seal.check()
        circumstances = self._circumstances(job, attempt)
        if self.device.type == "cuda":
            peak_mb = torch.cuda.max_memory_allocated() / 2**20
            circumstances = dataclasses.replace(circumstances, memory_mb=peak_mb)
        paused_runs = [run for run in ended if isinstance(run, PausedRun)]
        trained_runs = [run.pruned if isinstance(run, PausedRun) else run for run in ended]
        if job.save_adapters and not paused_runs:
            for run, trained in zip(job.runs, trained_runs, strict=True):
                card.write(Path(job.folder), run, trained.outcome)
        pack_records = [
            RunRecord(
                Identity.of(run, job.sweep),
                trained.outcome,
                circumstances,
                trained.history,
                trained.layers,
                self._kept_pictures(job, run, trained),
            )
            for run, trained in zip(job.runs, trained_runs, strict=True)
        ]
        if paused_runs:
            paused.write(Path(job.folder), pack_records, [run.state for run in paused_runs])
        return pack_records

    def _kept_pictures(self, job: TrainJob, run: Run, trained: TrainedRun) -> str:
        """Writes what the run keeps to be looked at; the digest for its record, empty if that is nothing."""
        if not trained.pictures:
            return ""
        arrays = {kind: of_kind.numpy() for kind, of_kind in trained.pictures.items()}
        return pictures.write(Path(job.folder), run.run_id, arrays)

    def _circumstances(self, job: TrainJob, attempt: Attempt) -> Circumstances:
        """Those of a pack that has not ended: of memory, only one that did can say what it took."""
        return Circumstances(
            pack_id=job.pack_id,
            attempt=attempt.number,
            halved=job.halved,
            device=torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
            data_fingerprint=job.fingerprints.data,
            model_fingerprint=job.fingerprints.model,
            judge_fingerprints=job.fingerprints.judges,
            **vars(job.provenance),
        )


def _refused(run: Run, error: Exception, model: nn.Module | None) -> Refused:
    """A refusal in one line; what was not foreseen is in the log in full."""
    if reason := folders.blame(error):
        return Refused(reason)
    if isinstance(error, ValueError | TypeError):  # as methods refuse what does not fit
        return Refused(f"method {run.method}: {first_line(error)}")
    if not isinstance(error, UsageError):
        traceback.print_exc()
    return Refused(failure_line(error, run, model))


def _joined(answers: list[Trained | CannotStore | Refused]) -> Trained | CannotStore | Refused:
    """One answer for the halves of a pack."""
    statuses: list[str] = []
    for answer in answers:
        if not isinstance(answer, Trained):
            return answer
        statuses += answer.statuses
    return Trained(tuple(statuses))
