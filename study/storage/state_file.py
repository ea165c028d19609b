"""The state of runs in training as one sealed file: safetensors, with everything else as JSON in its header.

No pickle is read, and the facts are read without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from study.storage.files import from_json, quarantine, sealed, to_json, unseal, write_atomically

State = tuple[dict[str, Any], dict[str, Any]]
"""Tensors by name (torch's, which is not imported here), and everything else as JSON."""


def write(path: Path, state: State) -> None:
    """Raises CannotWrite if the disk is full."""
    from safetensors.torch import save

    tensors, facts = state
    write_atomically(path, sealed(save(tensors, metadata={"facts": to_json(facts).decode()})))


def read(path: Path, instead: str) -> State | None:
    """The state; None if the file is damaged, which is set aside with a message.

    Args:
        instead: what is done without it, a sentence for the message.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    body = unseal(path)
    if body is not None:
        try:
            return load(body), _facts(body)
        except (SafetensorError, KeyError, ValueError):
            pass  # whole, but not ours
    quarantine(path, instead)
    return None


def read_facts(path: Path) -> dict[str, Any] | None:
    """All but the tensors; None if the file is damaged, which stays where it is."""
    body = unseal(path)
    try:
        return None if body is None else _facts(body)
    except (KeyError, ValueError):
        return None


def _facts(body: bytes) -> dict[str, Any]:
    """The `facts` in a safetensors file's header: 8 bytes of length, then JSON."""
    header = from_json(body[8 : 8 + int.from_bytes(body[:8], "little")])
    facts: dict[str, Any] = from_json(header["__metadata__"]["facts"].encode())
    return facts
