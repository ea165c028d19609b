"""Profiles that nothing was measured for."""

from __future__ import annotations

from study.planning.profile import Footprint, Profile, RunMapping


def profile_of(pack_size: int, step_seconds: dict[int, float], measure_seconds: float = 0.0) -> Profile:
    return Profile(
        unpackable="",
        mapping=RunMapping.LAYERS,
        pack_size=pack_size,
        step_seconds=step_seconds,
        measure_seconds=measure_seconds,
        activation_mb=0.0,
        footprint=Footprint(parameters=100, num_params=100),
    )
