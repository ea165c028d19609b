"""The random generators that a process shares: torch's, numpy's and Python's."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def cpu_generator() -> torch.Generator:
    """Torch's own for the CPU; while runs' streams are in use, its seed is the place of the next draw."""
    return torch.default_generator


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, all of them start from `seed`; afterwards they are as they were."""
    before = (cpu_generator().get_state(), random.getstate(), np.random.get_state())
    cpu_generator().manual_seed(seed)
    random.seed(seed)
    np.random.seed(seed & 0xFFFFFFFF)
    try:
        yield
    finally:
        cpu_generator().set_state(before[0])
        random.setstate(before[1])
        np.random.set_state(before[2])


def device_position(device: torch.device) -> int:
    """How much has been drawn from the device's generator so far; 0 of the CPU."""
    return torch.cuda.default_generators[_index(device)].get_offset() if device.type == "cuda" else 0


def seed_device(device: torch.device, seed: int) -> None:
    """Seeds the device's generator, and that of the CPU."""
    cpu_generator().manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[_index(device)].manual_seed(seed)


def python_states() -> Any:
    """What numpy's and Python's have come to, for comparison."""
    name, words, *rest = np.random.get_state()
    return (random.getstate(), name, bytes(words), rest)  # type: ignore[arg-type]


def _index(device: torch.device) -> int:
    return device.index if device.index is not None else torch.cuda.current_device()
