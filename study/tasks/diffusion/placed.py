"""A frozen module beside the base model, on whatever device it is asked for."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn


class Placed:
    """On each device a copy, made once.

    So the meta device, on which needs are only counted, never takes the weights away.
    """

    def __init__(self, module: nn.Module) -> None:
        self._by_device = {torch.device("cpu"): module}

    def on(self, device: torch.device) -> Any:
        if device not in self._by_device:
            original = self._by_device[torch.device("cpu")]
            self._by_device[device] = copy.deepcopy(original).to(device)
        return self._by_device[device]
