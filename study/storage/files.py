"""Files that are there whole or not at all, and that show it when they were damaged.

A *sealed* file's first line is the sha256 of all that follows; a bit that flips or an end that is cut
off is noticed when it is read. JSON is strict: what it cannot hold (nan, inf) is written as
`{"float": "nan"}`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class CannotWrite(Exception):
    """The disk is full, or the folder cannot be written; what was there before is intact."""


def write_atomically(path: Path, content: bytes, replace: bool = True) -> bool:
    """Writes a file that is there whole or not at all, even after kill -9 or on a full disk.

    Returns:
        False if `replace` is false and the file was already there; it is then left alone.

    Raises:
        CannotWrite: if it cannot be written; what was there before is intact.
    """
    with _beside(path) as temporary:
        temporary.write_bytes(content)
        _sync(temporary)
        if replace:
            temporary.replace(path)
            return True
        try:
            os.link(temporary, path)
        except FileExistsError:
            return False
        return True


@contextlib.contextmanager
def staged(path: Path) -> Iterator[Path]:
    """Where to write a large file, which takes the place of `path` when the block ends without an error.

    Raises:
        CannotWrite: if it cannot be written; what was there before is intact.
    """
    with _beside(path) as temporary:
        yield temporary
        _sync(temporary)
        temporary.replace(path)


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[Path]:
    """A file beside `path`, which is gone at the end if it is still there.

    Raises:
        CannotWrite: for errors of the system, but those of other files, which the block may read.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
    except OSError as error:
        if error.filename and Path(error.filename) not in {temporary, path, *path.parents}:
            raise
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):  # it is not there, and perhaps cannot be
            temporary.unlink()


def _sync(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def sealed(body: bytes) -> bytes:
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def unseal(path: Path) -> bytes | None:
    """The body of a sealed file, or None if it is not what was written."""
    digest, _, body = path.read_bytes().partition(b"\n")
    return body if hashlib.sha256(body).hexdigest().encode() == digest else None


def quarantine(path: Path, consequence: str) -> None:
    """Renames a damaged file, so that it is out of the way but can be looked at, and says so."""
    aside = path.with_name(f"{path.name}.damaged")
    path.rename(aside)
    print(f"warning: {path} is damaged; kept as {aside.name}. {consequence}", file=sys.stderr, flush=True)


def to_json(value: Any) -> bytes:
    """Strict JSON of a value in which floats may be anything."""
    try:
        return json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        return json.dumps(_spelled(value), allow_nan=False, separators=(",", ":")).encode()


def _spelled(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, dict):
        return {key: _spelled(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_spelled(inner) for inner in value]
    return value


def from_json(content: bytes) -> Any:
    """What `to_json` was given (tuples as lists)."""
    return json.loads(content, object_hook=lambda d: float(d["float"]) if d.keys() == {"float"} else d)
