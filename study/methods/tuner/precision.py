"""The precision in which a layer computes under autocast, for operations that autocast does not know."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch


def autocast_dtype(device: torch.device) -> torch.dtype | None:
    """What autocast has matrix products of this device computed in; None where it is off."""
    kind = device.type
    # The meta device knows no autocast.
    return torch.get_autocast_dtype(kind) if kind != "meta" and torch.is_autocast_enabled(kind) else None


def without_autocast(device: torch.device) -> AbstractContextManager[Any]:
    """In which operations compute in the precision of their arguments."""
    return torch.autocast(device.type, enabled=False) if autocast_dtype(device) else nullcontext()
