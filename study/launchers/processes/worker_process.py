"""One worker as a process of its own: jobs go in as JSON lines on stdin, answers come out of a pipe."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path

from study.planning.jobs import Answer, Died, Job, answer_from_json, job_to_json

WORKER = "study.training.process"
"""The program, known by its name alone: it needs torch, and nothing on this side does."""


class WorkerProcess:
    """A worker, and the thread that passes its answers on.

    Args:
        answers: gets every answer with the process that gave it; `Died` when the process ends.

    Attributes:
        job: what it is doing.
    """

    def __init__(
        self,
        index: int,
        environment: dict[str, str],
        logs: Path,
        answers: queue.Queue[tuple[WorkerProcess, Answer]],
    ) -> None:
        self.index = index
        self.job: Job | None = None
        reading, writing = os.pipe()
        self.log = logs / f"worker-{index}.log"
        with self.log.open("ab") as log:
            self._log_began = log.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-m", WORKER, str(writing)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=(writing,),
                start_new_session=True,
                text=True,
                env=environment,
            )
        os.close(writing)
        threading.Thread(target=self._pass_on, args=(reading, answers), daemon=True).start()

    def _pass_on(self, reading: int, answers: queue.Queue[tuple[WorkerProcess, Answer]]) -> None:
        with os.fdopen(reading) as lines:
            for line in lines:
                answers.put((self, answer_from_json(json.loads(line))))
        code = self.process.wait()
        answers.put((self, Died(code, self._last_words(code))))

    def _last_words(self, code: int) -> str:
        """How it ended, where it was by an error of its own: the last line that it printed."""
        if code <= 0:
            return ""
        with self.log.open("rb") as log:
            log.seek(self._log_began)
            lines = log.read().decode(errors="replace").strip().splitlines()
        return f"its worker ended with code {code}: {lines[-1].strip()}; see {self.log}" if lines else ""

    def give(self, job: Job) -> None:
        self.job = job
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(job_to_json(job)) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # its death is on the way as an answer

    @property
    def alive(self) -> bool:
        return self.process.poll() is None
