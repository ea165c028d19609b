"""One worker: does jobs, leaves records. As a process of its own, it takes jobs as JSON lines on stdin.

Jobs are `profile` (measure a method on a task), `estimate` (its memory alone), `train` (a pack of runs)
and `fetch` (load model and data once, so that they are in the cache). Answers go to the file descriptor
given as the only argument, so that nothing a library prints can disturb them. When stdin closes, because
the coordinator ended or was killed, the process ends at once; on SIGTERM it saves what it trains first.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from study import methods, tasks
from study.errors import UsageError, first_line
from study.launchers.local import halves
from study.planning.runs import PER_RUN, Run, digest
from study.storage import adapters, records
from study.storage.checkpoints import Attempt, Stopped, Superseded
from study.storage.files import CannotWrite
from study.tasks import Task
from study.tasks.loading.pretrained import block_layers, skeletons
from study.training.memory import estimate
from study.training.packing import Pack as Packed
from study.training.passes import base_model, evaluate
from study.training.probe import is_out_of_memory, profile
from study.training.train import Hyperparameters, train

Base = tuple[Task, nn.Module, dict[str, float]]
"""A task, its base model on the device, and that model's scores per split."""


class Worker:
    """Does jobs one after the other and keeps the base model of the last one loaded.

    Args:
        stop: asked after every training step; once it is true, `do` saves and raises `Stopped`.
    """

    def __init__(self, device: torch.device, stop: Callable[[], bool]) -> None:
        self.device, self.stop = device, stop
        self._loaded: tuple[str, Base] | None = None

    def base(self, run: Run) -> Base:
        """What the run starts from; the last one used is kept."""
        key = digest({k: v for k, v in run.task.items() if k not in PER_RUN})
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None
            task = tasks.load(run.task_settings())
            model = base_model(task, self.device)
            scores = {split: evaluate(task, model, split)[0][0] for split in ("valid", "test")}
            self._loaded = (key, (task, model, scores))
        return self._loaded[1]

    def config(self, run: Run, task: Task, model: nn.Module) -> Any:
        head = list(task.head_modules) if task.settings.head_lr else None
        return methods.config(run.method, run.options, target_modules(task, model), head)

    def profile(self, job: dict[str, Any]) -> dict[str, Any]:
        run = Run(**job["run"])
        try:
            task, model, _ = self.base(run)
            config = self.config(run, task, model)
            found = profile(task, model, config, job["runs"], job["pack_size"], job["memory_gb"])
            return {"profile": found.as_dict()}
        except (UsageError, ValueError, TypeError, RuntimeError, MemoryError) as error:
            self._loaded = None
            if is_out_of_memory(error):
                size = job["pack_size"] or 1
                return {"refused": f"method {run.method}: out of memory with {size} runs in a pack"}
            if isinstance(error, RuntimeError | MemoryError):
                raise
            where = "" if isinstance(error, UsageError) else f"method {run.method}: "
            return {"refused": where + first_line(error)}

    def estimate(self, job: dict[str, Any]) -> dict[str, Any]:
        """Memory from shapes alone: no weights are loaded."""
        run = Run(**job["run"])
        try:
            task = tasks.load(run.task_settings())
            with skeletons():
                model = base_model(task, torch.device("meta"))
            return {"profile": estimate(task, model, self.config(run, task, model))}
        except (UsageError, ValueError, TypeError) as error:
            where = "" if isinstance(error, UsageError) else f"method {run.method}: "
            return {"refused": where + first_line(error)}

    def fetch(self, job: dict[str, Any]) -> dict[str, Any]:
        try:
            tasks.load(Run(**job["run"]).task_settings()).model()
        except UsageError as error:
            return {"refused": str(error)}
        return {}

    def train(self, job: dict[str, Any]) -> dict[str, Any]:
        """Trains a pack and writes its records; answers with their statuses.

        A pack that does not fit in memory is cut in two, and so are its halves; each leaves its own records.

        Raises:
            Stopped: when asked to stop, after saving.
            Superseded: when a later attempt has the pack.
        """
        runs, folder = [Run(**run) for run in job["runs"]], Path(job["folder"])
        if found := records.read_statuses(folder, job["pack_id"]):
            return {"statuses": found}  # another attempt finished it
        try:
            attempt = Attempt(folder, job["pack_id"], job["checkpoint_s"], self.stop)
            outcome = self._records(runs, job, attempt)
            if outcome is None:
                attempt.close()
                answers = [self.train(half) for half in halves(job, again=True)]
                failed = next((answer for answer in answers if "error" in answer), None)
                return failed or {"statuses": [s for answer in answers for s in answer["statuses"]]}
            if not records.write(folder, job["pack_id"], outcome):
                print("the records of another attempt were there first", flush=True)
            attempt.close()
        except CannotWrite as error:
            return {"error": str(error)}
        return {"statuses": records.read_statuses(folder, job["pack_id"])}

    def _records(self, runs: list[Run], job: dict[str, Any], attempt: Attempt) -> list[records.Record] | None:
        """What the runs leave; None if they are to be tried again in halves."""
        shared = job["columns"] | {
            "pack_id": job["pack_id"],
            "attempt": attempt.number,
            "halved": job.get("halved", False),
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
        }
        try:
            task, model, scores = self.base(runs[0])
            hyperparameters = [
                Hyperparameters(r.lr, r.seed, r.task["weight_decay"], r.task["noise"]) for r in runs
            ]
            config = self.config(runs[0], task, model)

            def keep(pack: Packed) -> None:
                if job["save_adapters"]:
                    for index, run in enumerate(runs):
                        adapters.save(pack, index, adapters.folder_of(Path(job["folder"]), run.run_id))

            if self.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            outcomes = train(task, model, config, hyperparameters, scores, attempt, keep, job["whole"])
            if self.device.type == "cuda":
                shared["memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
            return [
                {
                    "row": {**run.columns(), **outcome.row, **shared},
                    "history": outcome.history,
                    "layers": outcome.layers,
                }
                for run, outcome in zip(runs, outcomes, strict=True)
            ]
        except (Stopped, Superseded, CannotWrite):
            self._loaded = None  # the attempt ended between a step and the next
            raise
        except Exception as error:
            traceback.print_exc()
            reason = f"{type(error).__name__}: {first_line(error)}"
            out_of_memory = is_out_of_memory(error)
        self._loaded = None  # it may have been left with adapters in it
        if out_of_memory:
            gc.collect()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()
            reason = f"out of memory in a pack of {len(runs)} ({reason})"
            if halves(job, again=True):
                print(reason, flush=True)
                return None
        return [records.failed({**run.columns(), **shared}, reason) for run in runs]


def target_modules(task: Task, model: nn.Module) -> list[str]:
    """The layers to adapt.

    Raises:
        UsageError: if the model has none of those that the settings name.
    """
    layers = block_layers(model)
    named = task.settings.target_modules
    ends = [name for name, _ in model.named_modules()]
    for name in named:
        if not any(end == name or end.endswith(f".{name}") for end in ends):
            model_name = task.settings.model
            raise UsageError(
                f"task.target_modules: {model_name} has no layer {name}; its blocks have: {', '.join(layers)}"
            )
    return named or layers


def _jobs() -> queue.Queue[dict[str, Any]]:
    """Jobs as they arrive; the process ends when no more can."""
    arrived: queue.Queue[dict[str, Any]] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            arrived.put(json.loads(line))
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return arrived


def main() -> None:
    answers = os.fdopen(int(sys.argv[1]), "w", buffering=1)
    asked_to_stop = threading.Event()
    training = threading.Event()

    def stop(*_: Any) -> None:
        asked_to_stop.set()
        if not training.is_set():
            os._exit(143)

    signal.signal(signal.SIGTERM, stop)
    arrived = _jobs()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    worker = Worker(device(), asked_to_stop.is_set)
    while True:
        job = arrived.get()
        if job["kind"] == "train":
            training.set()
        try:
            answer = getattr(worker, job["kind"])(job)
        except (Stopped, Superseded):
            os._exit(143)
        training.clear()
        answers.write(json.dumps({"event": "done", **answer}) + "\n")


def device() -> torch.device:
    return torch.device(os.environ.get("STUDY_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))


if __name__ == "__main__":
    main()
