"""Cores and memory are what the process is given, not what the machine has."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from study.launchers.local import Local
from study.launchers.processes import machine
from study.launchers.processes.cgroups import cpu_quota, memory_limit
from study.settings import LauncherSettings

V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 {part} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {part} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
HYBRID = V1.format(part="/") + "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"


def system(folder: Path, mounts: str, cgroup: str, files: dict[str, str]) -> Path:
    """The root of a file system with these cgroups: contents by the paths of files."""
    everything = {"proc/self/mountinfo": mounts, "proc/self/cgroup": cgroup} | files
    for name, text in everything.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")
    return folder


CPU1, MEM1 = "sys/fs/cgroup/cpu,cpuacct", "sys/fs/cgroup/memory"


@pytest.mark.parametrize("mounts,cgroup,files,quota,memory", [
    (V2, "0::/", {"sys/fs/cgroup/cpu.max": "150000 100000", "sys/fs/cgroup/memory.max": "4096"}, 1.5, 4096),
    (V2, "0::/a/b", {"sys/fs/cgroup/a/b/cpu.max": "max 100000", "sys/fs/cgroup/a/cpu.max": "300000 100000",
                     "sys/fs/cgroup/a/b/memory.max": "max", "sys/fs/cgroup/a/memory.max": "77"}, 3.0, 77),
    (V2, "0::/a/b", {"sys/fs/cgroup/a/b/cpu.max": "400000 100000", "sys/fs/cgroup/a/cpu.max": "50000 100000",
                     "sys/fs/cgroup/c/cpu.max": "1000 100000"}, 0.5, None),  # the tightest of ours
    (V2, "0::/", {"sys/fs/cgroup/cpu.max": "max 100000"}, None, None),
    (V2, "0::/../../host", {"sys/fs/cgroup/cpu.max": "200000 100000"}, 2.0, None),  # from another namespace
    (V1.format(part="/"), "4:memory:/m\n1:cpu,cpuacct:/x/y",
     {f"{CPU1}/x/y/cpu.cfs_quota_us": "-1", f"{CPU1}/x/y/cpu.cfs_period_us": "100000",
      f"{CPU1}/x/cpu.cfs_quota_us": "250000", f"{CPU1}/x/cpu.cfs_period_us": "100000",
      f"{MEM1}/m/memory.limit_in_bytes": "99"}, 2.5, 99),
    (V1.format(part="/docker/1f"), "4:memory:/docker/1f\n1:cpu,cpuacct:/docker/1f",  # as Docker shows them
     {f"{CPU1}/cpu.cfs_quota_us": "150000", f"{CPU1}/cpu.cfs_period_us": "100000"}, 1.5, None),
    (V1.format(part="/"), "4:memory:/docker/1f\n1:cpu,cpuacct:/docker/1f",  # a path that is not to be seen here
     {f"{CPU1}/cpu.cfs_quota_us": "150000", f"{CPU1}/cpu.cfs_period_us": "100000"}, 1.5, None),
    (HYBRID, "1:cpu,cpuacct:/x\n0::/", {f"{CPU1}/x/cpu.cfs_quota_us": "100000", f"{CPU1}/x/cpu.cfs_period_us": "50000"},
     2.0, None),
    ("", "", {}, None, None),
])  # fmt: skip
def test_limits_of_cgroups(
    mounts: str, cgroup: str, files: dict[str, str], quota: float | None, memory: int | None, tmp_path: Path
) -> None:
    root = system(tmp_path, mounts, cgroup, files)
    assert cpu_quota(root) == quota and memory_limit(root) == memory


def test_a_system_without_cgroups_limits_nothing(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path) is None and memory_limit(tmp_path) is None


@pytest.mark.parametrize("quota,environment,expected", [
    (None, {}, 8), (1.5, {}, 1), (0.2, {}, 1), (3.0, {}, 3), (64.0, {}, 8),
    (None, {"SLURM_CPUS_PER_TASK": "2", "SLURM_CPUS_ON_NODE": "6"}, 2), (None, {"SLURM_CPUS_ON_NODE": "6"}, 6),
    (1.0, {"SLURM_CPUS_ON_NODE": "6"}, 1), (None, {"SLURM_CPUS_ON_NODE": "72(x2)"}, 8),
])  # fmt: skip
def test_threads_and_workers_follow_the_tightest(
    quota: float | None, environment: dict[str, str], expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(machine, "affinity", lambda: list(range(8)))
    monkeypatch.setattr(machine, "cpu_quota", lambda: quota)
    monkeypatch.setattr(machine, "memory_limit", lambda: None)
    assert machine.cores() == expected
    local = Local(LauncherSettings(device="cpu"))
    assert local.capacity(1000).workers == expected and local.capacity(1000).threads == 1
    assert local.capacity(1).threads == expected
    assert expected in local.cache_key(1)


def test_workers_fit_in_the_memory_of_the_container(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "affinity", lambda: list(range(64)))
    monkeypatch.setattr(machine, "cpu_quota", lambda: None)
    monkeypatch.setattr(machine, "memory_limit", lambda: int(2.5 * 2**30))
    assert Local(LauncherSettings(device="cpu")).capacity(1000).workers == 2


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A real cgroup of this machine, of version 1 or 2, with one and a half cores."""
    folder = next(
        (p for p in (Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup")) if os.access(p, os.W_OK)), None
    )
    if folder is None:
        pytest.skip("no cgroup can be made here")
    own = folder / f"study-test-{os.getpid()}"
    try:
        own.mkdir()
        if (own / "cpu.cfs_quota_us").exists():
            (own / "cpu.cfs_quota_us").write_text("150000")
        else:
            (own / "cpu.max").write_text("150000 100000")
    except OSError:
        own.rmdir() if own.exists() else None
        pytest.skip("no cgroup can be made here")
    yield own
    own.rmdir()


def test_a_real_quota_is_seen(cgroup: Path) -> None:
    program = "from study.launchers.processes.machine import cores, cpu_quota; print(cpu_quota(), cores())"
    line = f"echo $$ > {cgroup}/cgroup.procs && exec {sys.executable} -c '{program}'"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
    assert done.stdout == "1.5 1\n", done.stderr


def test_a_real_affinity_is_seen() -> None:
    one = machine.affinity()[0]
    program = f"import os; os.sched_setaffinity(0, {{{one}}}); from study.launchers.processes.machine import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True).stdout == "1\n"
