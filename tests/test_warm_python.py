"""What the warm Python runs is a process like any other: arguments, folder, files, signals, its end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support import warm_python
from support.paths import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is Python itself")
TOLD = """
import json, os, sys
print(json.dumps([sys.argv[1:], os.getcwd(), os.environ.get("TOLD"), sys.executable, "torch" in sys.modules,
                  "study" in sys.modules, sys.stdin.read(), __name__]))
if sys.argv[1:] == ["file"]:
    os.write(int(os.environ["FILE"]), b"written")
print("and a word", file=sys.stderr)
sys.exit(3)
"""
WAITING = """
import atexit, os, signal, sys, time
atexit.register(lambda: open("left", "w").close())
if sys.argv[1] == "deaf":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
open("number.part", "w").write(str(os.getpid()))
os.rename("number.part", "number")
time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "told.py").write_text(TOLD)
    (tmp_path / "waiting.py").write_text(WAITING)
    return tmp_path


def test_it_is_told_what_a_process_is_told_and_nothing_of_the_study_is_there(folder: Path) -> None:
    reading, writing = os.pipe()
    done = subprocess.run(
        [sys.executable, "-m", "told", "file"], cwd=folder, input="typed", capture_output=True, text=True,
        env=os.environ | {"TOLD": "so", "FILE": str(writing)}, pass_fds=[writing],
    )  # fmt: skip
    os.close(writing)
    told = f'[["file"], "{folder}", "so", "{sys.executable}", true, false, "typed", "__main__"]\n'
    assert (done.returncode, done.stdout, done.stderr) == (3, told, "and a word\n")
    assert os.read(reading, 100) == b"written" and os.read(reading, 100) == b""  # none holds it open


def waiting(folder: Path, how: str) -> tuple[subprocess.Popen[str], int]:
    process = subprocess.Popen(
        [sys.executable, "-m", "waiting", how], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    return process, number_of(folder)


def number_of(folder: Path) -> int:
    while not (folder / "number").exists():
        time.sleep(0.01)
    return int((folder / "number").read_text())


def is_gone(number: int) -> bool:
    deadline = time.monotonic() + 5
    while Path(f"/proc/{number}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return not Path(f"/proc/{number}").exists()


@pytest.mark.parametrize("how,number,code", [
    ("deaf", signal.SIGTERM, 7),
    ("plain", signal.SIGTERM, -signal.SIGTERM),
    ("plain", signal.SIGINT, -signal.SIGINT),
])  # fmt: skip
def test_signals_arrive(how: str, number: int, code: int, folder: Path) -> None:
    process, _ = waiting(folder, how)
    process.send_signal(number)
    process.communicate()
    assert process.returncode == code
    assert (folder / "left").exists() == (how == "deaf" or number == signal.SIGINT)


def test_each_of_both_ends_with_the_other(folder: Path) -> None:
    process, number = waiting(folder, "plain")
    os.kill(number, signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    (folder / "number").unlink()
    process, number = waiting(folder, "plain")
    process.kill()
    process.communicate()
    assert is_gone(number)


def test_what_libraries_read_when_they_are_imported_is_python_itself(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "told"], cwd=folder, input="", capture_output=True, text=True,
        env=os.environ | {"HF_HOME": str(folder)},
    )  # fmt: skip
    assert f'"{warm_python.REAL}", false, false' in done.stdout and done.returncode == 3


SERVED = """
import subprocess
from support import warm_python
warm = warm_python.WarmPython()
open("folder", "w").write(str(warm.folder))
subprocess.run([warm.program, "-m", "waiting", "plain"])
"""


@pytest.mark.slow
def test_nothing_is_left_when_pytest_is_killed(folder: Path) -> None:
    """The server and its processes end with the one that started it, and its folder goes."""
    pytest_itself = subprocess.Popen(
        [warm_python.REAL, "-c", SERVED], cwd=folder, env=os.environ | {"PYTHONPATH": str(ROOT / "tests")}
    )
    number = number_of(folder)
    pytest_itself.kill()
    pytest_itself.wait()
    assert is_gone(number) and not Path((folder / "folder").read_text()).exists()
