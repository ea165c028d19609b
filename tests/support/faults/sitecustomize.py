"""Breaks a worker on purpose: with this folder on PYTHONPATH, STUDY_FAULTS says what is to go wrong.

    slow:FILE       every training step takes as many seconds longer as the file says then (or slow:0.1)
    memory:3        a pack of 3 runs or more raises torch's out-of-memory error in step 2
    killed:3        a pack of 3 runs or more is killed in step 2, as by the kernel
    poison:0:nan    in step 0, the first run's parameters become nan (or inf)
    blind           the first run's evaluations give nan

The probe is left alone. Several are separated by commas. Every step is noted in the file STUDY_STEPS:
size of the pack, rate and seed of its first run, step, time.
"""

import os
import signal
import sys
import time
from pathlib import Path

FAULTS = [fault.split(":") for fault in os.environ.get("STUDY_FAULTS", "").split(",") if fault]
WORKERS = ("study.training.process", "submitit.core._submit")


def install() -> None:
    import torch

    from study.training import train
    from study.training.passes import Scores

    Training, step_of, evaluate_of = train.Training, train.Training.train_step, train.evaluate_runs
    train_of, probing = train.train, [True]

    def train_(*arguments: object) -> list[train.TrainedRun]:
        probing[0] = False
        return train_of(*arguments)

    def train_step(self: train.Training) -> torch.Tensor:
        for name, *values in FAULTS:
            large = (
                not probing[0]
                and name in ("memory", "killed")
                and len(self.runs) >= int(values[0])
                and self.step == 2
            )
            if name == "slow":
                file = Path(values[0])
                time.sleep(float(file.read_text() or 0 if file.exists() else values[0]))
            elif name == "memory" and large:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")
            elif name == "killed" and large:
                os.kill(os.getpid(), signal.SIGKILL)
            elif name == "poison" and not probing[0] and self.step == int(values[0]):
                self.parameters.adapters[0].data.fill_(float(values[1]))
        losses = step_of(self)
        if path := os.environ.get("STUDY_STEPS"):
            line = f"{len(self.runs)} {self.runs[0].lr} {self.runs[0].seed} {self.step} {time.time()}\n"
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, line.encode())
            os.close(file)
        return losses

    def evaluate_runs(task, packed, flat, split):  # type: ignore[no-untyped-def]
        scores = evaluate_of(task, packed, flat, split)
        blind = any(name == "blind" for name, *_ in FAULTS) and packed.runs > 1
        return [Scores(float("nan"), float("nan")), *scores[1:]] if blind else scores

    Training.train_step, train.evaluate_runs, train.train = train_step, evaluate_runs, train_


if any(worker in sys.orig_argv for worker in WORKERS):
    install()
