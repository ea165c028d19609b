"""A worker as a process of its own: takes jobs as JSON lines on stdin.

Answers go to the file descriptor given as the only argument, so that nothing a library prints can disturb
them. When stdin closes, because the coordinator ended or was killed, the process ends at once; on SIGTERM it
saves what it trains first.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from typing import Any

import torch

from study.planning.jobs import Job, TrainJob, answer_to_json, job_from_json
from study.storage.checkpoints import Stopped, Superseded
from study.tasks.loading.device import device
from study.training.worker import Worker


def _jobs() -> queue.Queue[Job]:
    """Jobs as they arrive; the process ends when no more can."""
    arrived: queue.Queue[Job] = queue.Queue()

    def read() -> None:
        for line in sys.stdin:
            arrived.put(job_from_json(json.loads(line)))
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
        if isinstance(job, TrainJob):
            training.set()
        try:
            answer = worker.do(job)
        except (Stopped, Superseded):
            os._exit(143)
        training.clear()
        answers.write(json.dumps(answer_to_json(answer)) + "\n")


if __name__ == "__main__":
    main()
