"""The device that this process works on."""

from __future__ import annotations

import os

import torch


def device() -> torch.device:
    """What the launcher says, else a GPU if there is one."""
    return torch.device(os.environ.get("STUDY_DEVICE") or ("cuda" if torch.cuda.is_available() else "cpu"))
