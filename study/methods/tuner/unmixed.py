"""A tuner whose batches have one adapter each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from peft.tuners.tuners_utils import BaseTuner


class UnmixedTuner(BaseTuner):
    """Refuses what `peft` calls mixed batches, in which every example has an adapter of its own."""

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """`peft` enters this around every forward pass. It drops `adapter_names` silently otherwise.

        Raises:
            ValueError: if `adapter_names` asks for several adapters in one batch.
        """
        if kwargs.get("adapter_names") is not None:
            raise ValueError(
                f"{type(self).__name__} does not support mixed batches (adapter_names); call set_adapter and "
                "pass the examples of each adapter in a batch of their own"
            )
        yield
