"""A Python that starts at once: `-m MODULE` begins with torch and the other large libraries imported.

`sys.executable` is it while tests run, so that commands and workers, whoever starts them, are processes of
their own that share those imports and nothing else. Whatever is not `-m` is done by Python itself, as are
tests of what a command imports: `python -c`. So is what is asked for with other variables of those that
libraries read when they are imported. `REAL` is Python itself.

One thing the processes of a session share: how strings are hashed, which differs from one Python to the
next. So a test that nothing depends on it compares with what Python itself made, as `undisturbed` is.

    client.py   what is executed: hands its arguments, environment, folder and open files to the server
    server.py   has the libraries imported, and forks a process that becomes what was asked for
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

VARIABLE, REAL_VARIABLE = "STUDY_TESTS_PYTHON", "STUDY_TESTS_REAL_PYTHON"
"""Where the processes of the suite, and those of a test that runs pytest, find the program, and Python."""
REAL = os.environ.get(REAL_VARIABLE, sys.executable)
HERE = Path(__file__).parent


class WarmPython:
    """The program and its server, which imports nothing before the first process is asked for.

    Attributes:
        program: path that can stand for `sys.executable`.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="warm-python-"))
        self.program = self.folder / "python"
        address = self.folder / "socket"
        head = f"#!{REAL} -IS\nREAL, ADDRESS, PROGRAM = {(REAL, str(address), str(self.program))}\n"
        self.program.write_text(head + (HERE / "client.py").read_text())
        self.program.chmod(0o755)
        variables = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        variables.pop("PYTHONPATH", None)
        self._server = subprocess.Popen(
            [REAL, HERE / "server.py", address],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=variables, start_new_session=True,
        )  # fmt: skip
        assert self._server.stdout is not None
        self._server.stdout.readline()  # it listens

    def close(self) -> None:
        self._server.communicate()  # it ends when its stdin is closed
