"""What a method costs on a task and a machine, measured once, so that packs can be planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

BYTES_PER_NUMBER = 12
"""Of a trained number, in float32: itself and Adam's two averages. Its gradient is counted in the step."""

BYTES_STANDING = 4
"""Of a number of the adapter that stands in the model, for all runs once; full finetuning's is a model."""


class RunMapping(StrEnum):
    """How runs train together over one model; what it means is in `study.training.packing.packed_model`."""

    LAYERS = "layers"
    LOOPS = "loops"
    MODEL = "model"


@dataclass(frozen=True)
class Footprint:
    """What a pack needs on its device, in MB of 2^20 bytes.

    Attributes:
        parameters: trained numbers of one run as the paper counts them.
        num_params: numbers that one run's adapter (and head) stores.
        weights_mb: of the base model.
        fixed_mb: what a step or an evaluation makes on the way, whatever the size of the pack.
        run_mb: the same for each run of the pack. None, as the two above, where it was never counted:
            plans of the first version do not say.
    """

    parameters: int
    num_params: int
    weights_mb: float | None = None
    fixed_mb: float | None = None
    run_mb: float | None = None

    def trained_mb(self, runs: int) -> float:
        """Adapters of so many runs with their optimizer, and the one that stands in the model."""
        return self.num_params * (runs * BYTES_PER_NUMBER + BYTES_STANDING) / 2**20

    def pack_mb(self, runs: int) -> float:
        """All that a pack of so many runs needs at most: weights, adapters, optimizer, activations.

        Raises:
            ValueError: if memory was never counted.
        """
        if self.weights_mb is None or self.fixed_mb is None or self.run_mb is None:
            raise ValueError("this profile does not say what a pack needs of memory")
        return self.weights_mb + self.fixed_mb + runs * self.run_mb + self.trained_mb(runs)


@dataclass(frozen=True)
class Profile:
    """One method, with its options, on one task and machine.

    Attributes:
        unpackable: why runs cannot train together, empty if they can.
        mapping: how runs train together, where they can.
        pack_size: runs to train together.
        step_seconds: seconds per run and training step, by pack size.
        measure_seconds: seconds per run and evaluation, of a run alone.
        activation_mb: what a step of one run holds in memory for its backward pass.
    """

    unpackable: str
    mapping: RunMapping
    pack_size: int
    step_seconds: Mapping[int, float]
    measure_seconds: float
    activation_mb: float
    footprint: Footprint

    def to_json(self) -> dict[str, Any]:
        """The form in plan.json and in the cache of profiles, whose keys are an interface."""
        memory = {key: getattr(self.footprint, key) for key in ("weights_mb", "fixed_mb", "run_mb")}
        return {
            "unpackable": self.unpackable,
            "mapping": self.mapping.value,
            "pack_size": self.pack_size,
            "step_seconds": {str(size): seconds for size, seconds in self.step_seconds.items()},
            "measure_seconds": self.measure_seconds,
            "parameters": self.footprint.parameters,
            "numbers": self.footprint.num_params,
            "saved_mb": self.activation_mb,
            **{key: mb for key, mb in memory.items() if mb is not None},
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Profile:
        """Reads what any version wrote.

        Raises:
            KeyError, TypeError, ValueError: if it is not a profile.
        """
        return cls(
            unpackable=content["unpackable"],
            mapping=_mapping(content),
            pack_size=content["pack_size"],
            step_seconds={int(size): seconds for size, seconds in content["step_seconds"].items()},
            measure_seconds=content["measure_seconds"],
            activation_mb=content.get("saved_mb", 0.0),
            footprint=Footprint(
                parameters=content["parameters"],
                num_params=content.get("numbers", 0),
                **{key: content.get(key) for key in ("weights_mb", "fixed_mb", "run_mb")},
            ),
        )


def _mapping(content: Mapping[str, Any]) -> RunMapping:
    """As any version wrote it: the first three knew two ways, and had a bool for them."""
    if "mapping" in content:
        return RunMapping(content["mapping"])
    return RunMapping.MODEL if content.get("whole") else RunMapping.LAYERS
