"""Latents of a data set's pictures, encoded once for all studies of this user on this machine.

One file for a VAE, a data set and a size of pictures, with a record per picture: a digest, and the latents in
float32. The digest is of the latents and of the picture's own file. A record that was torn, or whose picture
is another one by now, does not fit its digest and is made again. So workers need no lock and may be killed at
any time, and what is read is what encoding would give, bit for bit.
"""

from __future__ import annotations

import hashlib
import math
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import PIL
import torch
from torch import Tensor

from study.paths import cache_folder
from study.settings import TaskSettings
from study.tasks.diffusion.latents import VaeLatents
from study.tasks.diffusion.map_scenes import MapScenes
from study.tasks.loading.device import device
from study.tasks.loading.fingerprint import source_fingerprint

DIGEST_BYTES = 16
MOST_BYTES = 40 * 2**30
"""Of all such files together: before one is made, those that nobody used for longest make room."""


class CachedLatents:
    """Latents of the pictures of a data set's splits, from the cache or made now.

    Attributes:
        path: the cache's file.
        note: where latents are kept and how much they may take, in a line.
    """

    def __init__(
        self, latents: VaeLatents, splits: Sequence[MapScenes], size: int, settings: TaskSettings
    ) -> None:
        self._latents = latents
        self._shape = (latents.channels, size // latents.factor, size // latents.factor)
        self._record_bytes = DIGEST_BYTES + 4 * math.prod(self._shape)
        count = sum(len(split) for split in splits)
        self._bytes = count * self._record_bytes
        made_by = [torch.__version__, PIL.__version__, _machine(), latents.digest()]
        of = [source_fingerprint(settings) or settings.data, str(size), str(self._shape)]
        key = hashlib.sha256("\n".join([*made_by, *of]).encode()).hexdigest()[:16]
        self.path = cache_folder() / "latents" / f"{key}.bin"
        self.note = f"latents of {count:,} pictures: {_gb(self._bytes)} at most, shared in {self.path}"
        if not _can_be_written(self.path):
            self.note = f"latents are encoded by each worker anew: {self.path.parent} cannot be written"
        self._file: int | None = None
        self._unkept: dict[bytes, Tensor] = {}
        """What could not be written, by the digest of its picture's file."""

    @torch.no_grad()
    def of(self, scenes: MapScenes, index: int) -> Tensor:
        """Of one picture, (channels, height, width), float32 on the CPU."""
        number, content = scenes.source(index)
        known = self._read(number, content)
        if known is None:
            known = self._unkept.get(_digest(content))
        if known is not None:
            return known
        picture = scenes.pictures([index]).to(device())
        made = self._latents.encode(picture)[0].float().cpu().contiguous()
        if not self._write(number, content, made):
            self._unkept[_digest(content)] = made
        return made

    def _read(self, number: int, content: bytes) -> Tensor | None:
        file = self._opened()
        if file is None:
            return None
        record = os.pread(file, self._record_bytes, number * self._record_bytes)
        digest, body = record[:DIGEST_BYTES], bytearray(record[DIGEST_BYTES:])
        if len(record) < self._record_bytes or digest != _digest(content, body):
            return None
        return torch.frombuffer(body, dtype=torch.float32).view(self._shape)

    def _write(self, number: int, content: bytes, latents: Tensor) -> bool:
        """Whether it is in the file now: the disk may be full."""
        file, body = self._opened(), latents.numpy().tobytes()
        if file is None:
            return False
        try:
            written = os.pwrite(file, _digest(content, body) + body, number * self._record_bytes)
        except OSError:
            return False
        return written == self._record_bytes

    def _opened(self) -> int | None:
        """The file, made if it is not there; None if it cannot be."""
        if self._file is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                if not self.path.exists():
                    _make_room(self.path.parent, self._bytes)
                self._file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
                os.utime(self._file)
            except OSError:
                return None
        return self._file

    def __del__(self) -> None:
        if getattr(self, "_file", None) is not None:
            os.close(self._file)  # type: ignore[arg-type]


def _digest(content: bytes, body: bytes | bytearray = b"") -> bytes:
    digest = hashlib.blake2b(content, digest_size=DIGEST_BYTES)
    digest.update(body)
    return digest.digest()


def _make_room(folder: Path, needed: int) -> None:
    """Deletes what was not used for longest, until all files and a new one are within MOST_BYTES.

    A worker that still has one of them open goes on with it.
    """
    files = sorted(folder.glob("*.bin"), key=lambda file: file.stat().st_mtime)
    taken = sum(file.stat().st_size for file in files)
    while files and taken + needed > MOST_BYTES:
        oldest = files.pop(0)
        taken -= oldest.stat().st_size
        oldest.unlink(missing_ok=True)


def _machine() -> str:
    """What decides the last bits of what is encoded here."""
    if device().type == "cuda":
        return torch.cuda.get_device_name()
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"


def _can_be_written(file: Path) -> bool:
    if file.exists():
        return os.access(file, os.R_OK | os.W_OK)
    above = next(folder for folder in file.parents if folder.exists())
    return above.is_dir() and os.access(above, os.W_OK)


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
