"""Studies at work on one machine see each other, and share its cores and GPUs.

Each notes in a file of a common folder what it uses, and holds a lock on that file for as long as it lives.
The system lets go of the lock when the process ends, however it ends; the next to look removes the file.

    /tmp/ether-study-<user's number>/<process>.json    or in $STUDY_RUNNING
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from study.launchers.processes import machine
from study.launchers.processes.machine import gpu_identities

LOCK_S = 2.0
"""How long the common lock is waited for; it is held for moments, and never a reason to stop."""


@dataclass(frozen=True)
class Use:
    """What a study uses of this machine.

    Attributes:
        study: its folder.
        cores: how many are busy with it.
        given: how many it may use at most, alone.
        allowed: numbers of the cores that it may run on.
        job: the Slurm job that it is part of; empty outside.
        gpus: by what they are everywhere on the machine.
    """

    pid: int
    study: str
    cores: int
    given: int
    allowed: tuple[int, ...]
    job: str
    gpus: tuple[str, ...] = ()

    def shares_limit(self, other: Use) -> bool:
        """Whether both draw on one allowance, rather than on allowances that merely overlap."""
        return (self.job, self.given, self.allowed) == (other.job, other.given, other.allowed)

    @property
    def words(self) -> str:
        return f"{self.study} (process {self.pid})"


def registry() -> Path:
    """Where studies note what they use: not under TMPDIR or HOME, of which there may be several."""
    return Path(os.environ.get("STUDY_RUNNING") or f"/tmp/ether-study-{os.getuid()}")


class Place:
    """A study's place on this machine, beside others.

    Args:
        study: its folder.
        folder: where all studies note what they use.

    Attributes:
        use: what is noted of this one.
    """

    def __init__(self, study: Path, folder: Path | None = None) -> None:
        self.folder = folder or registry()
        allowed, job = tuple(machine.affinity()), os.environ.get("SLURM_JOB_ID", "")
        self.use = Use(os.getpid(), str(study), 0, machine.cores(), allowed, job)
        self._file: int | None = None
        self._path: Path | None = None

    def neighbours(self) -> list[Use]:
        """What the other studies that run now use; none where that cannot be known."""
        if not self.folder.exists():
            return []  # and a dry run makes none
        with self._locked() as locked:
            return self._others() if locked else []

    def take(self, cores: int, gpus: Sequence[str] = ()) -> None:
        """Notes what this study uses from now on."""
        with self._locked() as locked:
            if locked:
                self._note(replace(self.use, cores=cores, gpus=tuple(gpu_identities(gpus))))

    def take_gpus(self, names: Sequence[str], most: int, even_if_taken: bool) -> list[str]:
        """Notes GPUs as used by this study: free ones, at most so many; returns their names.

        Args:
            names: of all that it may use.
            even_if_taken: others' as well, where free ones do not suffice.
        """
        with self._locked() as locked:
            if not locked:
                return list(names)[:most]
            free = free_gpus(names, self._others())
            rest = [name for name in names if name not in free] if even_if_taken else []
            taken = [*free, *rest][:most]
            self._note(replace(self.use, gpus=tuple(gpu_identities(taken))))
            return taken

    def leave(self) -> None:
        if self._file is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._file)
        self._file = self._path = None

    def _note(self, use: Use) -> None:
        """Under the common lock."""
        self.use = use
        if self._file is None:
            file, name = tempfile.mkstemp(".json", f"{os.getpid()}-", self.folder)
            fcntl.flock(file, fcntl.LOCK_EX)
            self._file, self._path = file, Path(name)
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, json.dumps(asdict(use)).encode(), 0)

    def _others(self) -> list[Use]:
        """Under the common lock, so that no file is without its owner's lock but those of the dead."""
        others = []
        for path in sorted(self.folder.glob("*.json")):
            if path == self._path:
                continue
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    path.unlink()
                    continue
                except BlockingIOError:
                    pass  # it lives
                with contextlib.suppress(ValueError, TypeError, KeyError):  # of another version
                    content = json.loads(file.read())
                    use = Use(**content | {key: tuple(content[key]) for key in ("allowed", "gpus")})
                    if use.pid != os.getpid():
                        others.append(use)
        return others

    @contextlib.contextmanager
    def _locked(self) -> Iterator[bool]:
        """Holds the common lock; False where there is none to be had: then each is for itself."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self.folder.stat().st_uid != os.getuid():
                raise PermissionError
            file = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:
            yield False
            return
        try:
            yield _flock_within(file, LOCK_S)
        finally:
            os.close(file)


def _flock_within(file: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)


def share_of_cores(own: Use, others: Sequence[Use]) -> int:
    """How many cores a study may keep busy beside others: those that are free, and at least an even share.

    Where the others have more than theirs, all are on the same cores until the others' packs end, and they
    give some back.
    """
    beside = [other for other in others if set(other.allowed) & set(own.allowed)]
    same = [other for other in beside if other.shares_limit(own)]
    of_strangers = sum(other.cores for other in beside if other not in same)
    given = min(own.given, len(own.allowed) - of_strangers)
    free = given - sum(other.cores for other in same)
    return max(1, free, given // (1 + len(same)))


def free_gpus(names: Sequence[str], others: Sequence[Use]) -> list[str]:
    """Those of the GPUs that no other study uses."""
    taken = {gpu for other in others for gpu in other.gpus}
    return [name for name, gpu in zip(names, gpu_identities(names), strict=True) if gpu not in taken]
