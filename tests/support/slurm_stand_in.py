"""Takes Slurm's place on a machine without it: every array task is a process of this machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from study.launchers.cluster.batches import batch_name
from study.launchers.cluster.squeue import Task
from study.paths import PACKAGE
from study.settings import LauncherSettings
from support.paths import ROOT


class StandIn:
    """What submitit and squeue do, as `study.launchers.slurm` uses them."""

    def __init__(self) -> None:
        self.processes: dict[tuple[str, int], subprocess.Popen[str]] = {}

    def executor(self, settings: LauncherSettings, _: Path, batch: str) -> Any:
        environment = os.environ | {
            "OMP_NUM_THREADS": str(settings.cpus_per_task), "STUDY_TIMEOUT_S": "600",
            "PYTHONPATH": os.pathsep.join([str(PACKAGE.parent), str(ROOT / "tests")]),
        }  # fmt: skip

        def map_array(_: Any, answer_files: list[str], jobs: list[Any]) -> list[SimpleNamespace]:
            for index, (answer_file, job) in enumerate(zip(answer_files, jobs, strict=True)):
                process = subprocess.Popen(
                    [sys.executable, "-m", "support.array_task", answer_file],
                    stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment,
                )  # fmt: skip
                assert process.stdin is not None
                process.stdin.write(json.dumps(job))
                process.stdin.close()
                self.processes[batch_name(batch), index] = process
            return [SimpleNamespace(job_id="7_0")]

        return SimpleNamespace(map_array=map_array)

    def tasks(self, names: list[str]) -> list[Task]:
        return [
            Task(f"7_{index}", name, index, self._state(process), "None", "gpu1", "1:00")
            for (name, index), process in self.processes.items()
            if name in names
        ]

    @staticmethod
    def _state(process: subprocess.Popen[str]) -> str:
        code = process.poll()
        return "RUNNING" if code is None else "FAILED" if code else "COMPLETED"
