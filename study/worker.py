"""One worker process: takes jobs as JSON lines on stdin, does them, answers as JSON lines.

Jobs are `profile` (measure a method on a task) and `train` (a pack of runs). Answers go to the file
descriptor given as the only argument, so that nothing a library prints can disturb them. When stdin
closes, because the coordinator ended or was killed, the process ends at once.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

import torch
from torch import nn

from study import methods, records, tasks
from study.errors import UsageError, first_line
from study.plan import PER_RUN, Run, digest
from study.profile import profile
from study.tasks import Task
from study.train import Hyperparameters, evaluate, train

Base = tuple[Task, nn.Module, dict[str, float]]
"""A task, its base model on the device, and that model's scores per split."""


class Worker:
    """Does jobs one after the other and keeps the base model of the last one loaded."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._loaded: tuple[str, Base] | None = None

    def base(self, run: Run) -> Base:
        """What the run starts from; the last one used is kept."""
        key = digest({k: v for k, v in run.task.items() if k not in PER_RUN})
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None
            settings = run.task_settings()
            task = tasks.load(settings)
            model = task.model().to(self.device)
            if settings.precision == "bfloat16":
                model = model.to(torch.bfloat16)
            scores = {split: evaluate(task, model, split)[0][0] for split in ("valid", "test")}
            self._loaded = (key, (task, model, scores))
        return self._loaded[1]

    def config(self, run: Run, task: Task) -> Any:
        head = task.head_modules if task.settings.head_lr else None
        return methods.config(run.method, run.options, task.settings.target_modules, head)

    def profile(self, job: dict[str, Any]) -> dict[str, Any]:
        run = Run(**job["run"])
        try:
            task, model, _ = self.base(run)
            config = self.config(run, task)
            found = profile(task, model, config, job["runs"], job["pack_size"])
            return {"profile": found.as_dict()}
        except (UsageError, ValueError, TypeError) as error:
            self._loaded = None
            where = "" if isinstance(error, UsageError) else f"method {run.method}: "
            return {"refused": where + first_line(error)}

    def train(self, job: dict[str, Any], emit: Any) -> dict[str, Any]:
        runs = [Run(**run) for run in job["runs"]]
        shared = job["columns"] | {
            "pack_id": job["pack_id"],
            "device": torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
        }
        try:
            task, model, scores = self.base(runs[0])
            hyperparameters = [
                Hyperparameters(r.lr, r.seed, r.task["weight_decay"], r.task["noise"]) for r in runs
            ]
            outcomes = train(
                task,
                model,
                self.config(runs[0], task),
                hyperparameters,
                scores,
                lambda step: emit({"event": "step", "step": step}),
            )
            found: list[records.Record] = [
                {
                    "row": {**run.columns(), **outcome.row, **shared},
                    "history": outcome.history,
                    "layers": outcome.layers,
                }
                for run, outcome in zip(runs, outcomes, strict=True)
            ]
        except Exception as error:
            traceback.print_exc()
            self._loaded = None  # it may have been left with adapters in it
            reason = f"{type(error).__name__}: {first_line(error)}"
            found = [records.failed({**run.columns(), **shared}, reason) for run in runs]
        records.write(Path(job["folder"]), job["pack_id"], found)
        return {"statuses": [record["row"]["status"] for record in found]}


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

    def emit(answer: dict[str, Any]) -> None:
        answers.write(json.dumps(answer) + "\n")

    arrived = _jobs()
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    wanted = os.environ.get("STUDY_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu")
    worker = Worker(torch.device(wanted))
    while True:
        job = arrived.get()
        answer = worker.profile(job) if job["kind"] == "profile" else worker.train(job, emit)
        emit({"event": "done", **answer})


if __name__ == "__main__":
    main()
