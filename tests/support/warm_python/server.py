"""Imports the large libraries, and forks for every connection a process that becomes what is asked for."""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import io
import json
import os
import runpy
import selectors
import shutil
import signal
import socket
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = (
    "torch", "torch.func", "torch._dynamo", "torch.distributed.tensor", "numpy", "scipy.stats",
    "scipy.optimize", "pandas", "pyarrow.parquet", "transformers", "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto", "transformers.models.vit.modeling_vit",
    "transformers.models.deberta_v2.modeling_deberta_v2", "transformers.models.llama.modeling_llama",
    "transformers.models.clip.modeling_clip", "peft", "peft.tuners", "safetensors.torch", "hydra",
    "omegaconf", "optuna", "matplotlib.pyplot", "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf", "PIL.Image", "jinja2", "rich.progress", "tqdm", "yaml",
    "matplotlib.backends.backend_svg", "PIL.JpegImagePlugin", "PIL.GifImagePlugin", "PIL.PpmImagePlugin",
    "transformers.models.deberta_v2.tokenization_deberta_v2", "transformers.models.siglip.modeling_siglip",
    "transformers.models.dinov2_with_registers.modeling_dinov2_with_registers",
    "transformers.models.vit_mae.modeling_vit_mae", "peft.utils.transformers_weight_conversion",
    "diffusers", "diffusers.models", "diffusers.pipelines.pipeline_utils",
    "diffusers.schedulers.scheduling_ddim", "diffusers.schedulers.scheduling_ddpm",
    "diffusers.schedulers.scheduling_unipc_multistep", "diffusers.schedulers.scheduling_dpmsolver_multistep",
    "torchmetrics.image.fid", "torchmetrics.functional.classification", "datasets", "sklearn.datasets",
    "sklearn.metrics",
)  # fmt: skip
"""What takes long to import. None of this project: a process imports that itself, from where it is run."""

READ_ON_IMPORT = ("CUDA_", "DIFFUSERS_", "GOMP_", "HF_", "LD_", "MKL_", "MPL", "OPENBLAS_", "PYTHON",
                  "PYTORCH_", "TORCH", "TRANSFORMERS_", "XDG_", "HOME")  # fmt: skip
"""Beginnings of the variables that libraries read when they are imported, not when they are used. Where they
differ from the server's, nothing is taken over: Python itself is run."""

CAN_DIFFER = ("PYTHONPATH", "PYTHONUNBUFFERED", "HF_HUB_DISABLE_PROGRESS_BARS", "TORCHINDUCTOR_CACHE_DIR",
              "XDG_CACHE_HOME")  # fmt: skip
"""... but for these: two that `become` sees to, what is shown of downloads, what torch sets itself, and where
this project keeps what it measured, which it reads when it is used."""


@dataclass(frozen=True)
class Asked:
    """What to become.

    Attributes:
        arguments: those of Python: `-m MODULE ...`.
        program: what `sys.executable` is to be.
        files: numbers of the open files that come with it.
        affinity: the cores that it may use.
    """

    arguments: list[str]
    program: str
    folder: str
    variables: dict[str, str]
    files: list[int]
    affinity: list[int]


def read_on_import(variables: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in variables.items()
        if name.startswith(READ_ON_IMPORT) and name not in CAN_DIFFER
    }


def import_libraries() -> None:
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):  # of an extra that is not installed
            importlib.import_module(name)
    gc.collect()
    gc.freeze()


def receive(connection: socket.socket) -> tuple[Asked, list[int]]:
    """What is asked for, and the open files as they are numbered here."""
    line, files, _, _ = socket.recv_fds(connection, 2**16, 250)
    while not line.endswith(b"\n"):
        line += connection.recv(2**16)
    return Asked(**json.loads(line)), files


class Server:
    """Passes signals on to its processes and says how each ended; kills one where the one that asked is dead.

    It ends, with all of them and its folder, when its stdin is closed: when whoever started it has ended.
    """

    def __init__(self, address: str) -> None:
        self.listening = socket.socket(socket.AF_UNIX)
        self.listening.bind(address)
        self.listening.listen(64)
        self.selector = selectors.DefaultSelector()
        self.selector.register(sys.stdin, selectors.EVENT_READ)
        self.selector.register(self.listening, selectors.EVENT_READ)
        self.connections: dict[int, socket.socket] = {}
        """By the file descriptor that stands for the process (a pidfd), readable when it has ended."""

    def serve(self) -> tuple[Asked, list[int]]:
        """Returns in the processes alone, each with what it is to become."""
        print("listening", flush=True)
        while True:
            key = self.selector.select()[0][0]  # one at a time: it may close what the others are of
            if key.fileobj is sys.stdin:
                self._end()
            elif key.fileobj is self.listening:
                if asked := self._accept():
                    return asked
            elif key.fd in self.connections:
                self._ended(key.fd)
            else:
                self._pass_on(key.fileobj, key.data)

    def _end(self) -> None:
        shutil.rmtree(Path(self.listening.getsockname()).parent)
        for process in self.connections:
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os._exit(0)

    def _accept(self) -> tuple[Asked, list[int]] | None:
        if "torch" not in sys.modules:
            import_libraries()
        connection, _ = self.listening.accept()
        asked, files = receive(connection)
        if read_on_import(asked.variables) != read_on_import(dict(os.environ)):
            connection.close()
        elif (number := os.fork()) == 0:
            return asked, files
        else:
            process = os.pidfd_open(number)
            self.connections[process] = connection
            self.selector.register(connection, selectors.EVENT_READ, process)
            self.selector.register(process, selectors.EVENT_READ)
            with contextlib.suppress(OSError):  # it was killed meanwhile, which is seen next
                connection.sendall(b"taken\n")
        for file in files:
            os.close(file)
        return None

    def _pass_on(self, connection: socket.socket, process: int) -> None:
        try:
            numbers = connection.recv(64)
        except ConnectionError:
            numbers = b""
        if not numbers:  # it was killed
            self.selector.unregister(connection)
        for number in numbers or [signal.SIGKILL]:
            signal.pidfd_send_signal(process, number)

    def _ended(self, process: int) -> None:
        connection = self.connections.pop(process)
        status = os.waitid(os.P_PIDFD, process, os.WEXITED)
        assert status is not None
        code = status.si_status if status.si_code == os.CLD_EXITED else -status.si_status
        with contextlib.suppress(OSError):
            connection.sendall(f"{code}\n".encode())
        with contextlib.suppress(KeyError):
            self.selector.unregister(connection)
        connection.close()
        self.selector.unregister(process)
        os.close(process)


def become(asked: Asked, files: list[int]) -> None:
    """Takes over everything that tells one process from another."""
    os.setsid()
    high = max([*files, *asked.files]) + 1
    moved = [os.dup2(file, high + i) for i, file in enumerate(files)]
    os.closerange(0, high)
    for number, file in zip(asked.files, moved, strict=True):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked.folder)
    os.environ.clear()
    os.environ.update(asked.variables)
    os.sched_setaffinity(0, asked.affinity)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin = sys.__stdin__ = text_file(0, "r")
    sys.stdout = sys.__stdout__ = text_file(1, "w")
    sys.stderr = sys.__stderr__ = text_file(2, "w")
    sys.executable = asked.program
    sys.orig_argv[:] = [asked.program, *asked.arguments]
    added = [path for path in asked.variables.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:0] = [asked.folder, *map(os.path.abspath, added)]
    importlib.invalidate_caches()
    tempfile.tempdir = None
    threads = asked.variables.get("OMP_NUM_THREADS")
    sys.modules["torch"].set_num_threads(int(threads) if threads else len(asked.affinity))


def text_file(number: int, mode: str) -> io.TextIOWrapper | None:
    errors = "backslashreplace" if number == 2 else "strict"
    try:
        file = open(number, mode, encoding="utf-8", errors=errors, closefd=False)  # noqa: SIM115
    except OSError:
        return None  # closed
    if mode == "w":
        unbuffered = bool(os.environ.get("PYTHONUNBUFFERED"))
        file.reconfigure(line_buffering=number == 2 or file.isatty(), write_through=unbuffered)
    return file


def run(arguments: list[str]) -> None:
    """What Python does with `-m MODULE ...`."""
    sys.modules.pop("sitecustomize", None)
    with contextlib.suppress(ImportError):
        import sitecustomize  # noqa: F401
    _, module, *rest = arguments
    sys.argv[:] = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


class Leaving:
    """Ends the process without taking its libraries apart, which takes half a second of computing."""

    def __init__(self) -> None:
        self.code = 0
        atexit.register(self._leave)  # before any library: called after what they register

    def note(self, error: BaseException) -> None:
        """How Python will end after this error, of which it says more."""
        self.code = 1
        if isinstance(error, SystemExit):
            self.code = error.code if isinstance(error.code, int) else int(error.code is not None)
        elif isinstance(error, KeyboardInterrupt):
            self.code = -signal.SIGINT

    def _leave(self) -> None:
        for file in (sys.stdout, sys.stderr):
            if file is not None:
                file.flush()
        if self.code < 0:
            signal.signal(-self.code, signal.SIG_DFL)
            os.kill(os.getpid(), -self.code)
        os._exit(self.code)


if __name__ == "__main__":
    del sys.path[0]  # this folder
    leaving = Leaving()
    asked, files = Server(sys.argv[1]).serve()
    become(asked, files)
    try:
        run(asked.arguments)
    except BaseException as error:
        leaving.note(error)
        raise
