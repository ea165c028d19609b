"""What cgroups allow this process, as containers and batch systems use them: versions 1 and 2, and nested.

A container with `--cpus=1.5` sees all of its host's cores, and so does the process's affinity: the quota
stands in files of the process's cgroup alone, or of one above it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

ROOT = Path("/")


@dataclass(frozen=True)
class _Mount:
    """Where a hierarchy of cgroups is to be seen: which part of it (`part`), and at which folder."""

    part: str
    folder: Path
    version: int


def cpu_quota(root: Path = ROOT) -> float | None:
    """Cores' worth of time that the process may use; None where nothing limits it.

    Args:
        root: of the file system, for tests.
    """
    quotas = []
    for folder, version in _cgroups("cpu", root):
        if version == 2:
            numbers = _words(folder / "cpu.max")
        else:
            numbers = _words(folder / "cpu.cfs_quota_us") + _words(folder / "cpu.cfs_period_us")
        if len(numbers) == 2 and all(number.isdigit() for number in numbers):  # not `max`, not -1
            quotas.append(int(numbers[0]) / max(1, int(numbers[1])))
    return min(quotas, default=None)


def memory_limit(root: Path = ROOT) -> int | None:
    """Bytes of main memory that the process may use; None where nothing limits it."""
    names = {2: "memory.max", 1: "memory.limit_in_bytes"}
    found = [_words(folder / names[version]) for folder, version in _cgroups("memory", root)]
    return min((int(words[0]) for words in found if words and words[0].isdigit()), default=None)


def _cgroups(controller: str, root: Path) -> Iterator[tuple[Path, int]]:
    """The folders of the process's cgroup for this controller and of those above it, with their version."""
    paths = _paths(controller, root)
    for mount in _mounts(controller, root):
        path = PurePosixPath(paths.get(mount.version, "/"))
        if mount.part != "/":  # a container sees its own part, but may be told its path on the host
            path = PurePosixPath("/", *path.parts[len(PurePosixPath(mount.part).parts) :])
        if ".." in path.parts:  # as seen from a namespace that does not hold it
            path = PurePosixPath("/")
        for above in (path, *path.parents):
            yield mount.folder / above.relative_to("/"), mount.version


def _paths(controller: str, root: Path) -> dict[int, str]:
    """The process's cgroup in each version's hierarchy."""
    paths = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        if not controllers:
            paths[2] = path
        elif controller in controllers.split(","):
            paths[1] = path
    return paths


def _mounts(controller: str, root: Path) -> Iterator[_Mount]:
    for line in _lines(root / "proc/self/mountinfo"):
        place, _, kind = line.partition(" - ")
        part, folder = place.split()[3:5]
        file_system, _, options = kind.split()[:3]
        at = root / folder.lstrip("/")
        if file_system == "cgroup2":
            yield _Mount(part, at, 2)
        elif file_system == "cgroup" and controller in options.split(","):
            yield _Mount(part, at, 1)


def _lines(path: Path) -> list[str]:
    try:
        return [line for line in path.read_text().splitlines() if line]
    except OSError:
        return []


def _words(path: Path) -> list[str]:
    return " ".join(_lines(path)).split()
