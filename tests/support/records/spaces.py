"""Studies of a space that no run has made: every trial's scores are given."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from study.storage import trials
from study.storage.trials import MethodTrials, SpaceTrials, Trial
from support.records import synthetic

Point = tuple[Mapping[str, object], float, float]
"""The values of a trial, and its score on validation and on test."""


def write(
    folder: Path,
    points: Mapping[str, Sequence[Point]],
    space: Mapping[str, object],
    sampler: str = "random",
    pruned_at: Mapping[int, int] = MappingProxyType({}),
    **columns: object,
) -> Path:
    """Tables and trials.json of a study with one run per trial, by method.

    Args:
        pruned_at: by number of a trial the step at which it was pruned.
        columns: override what every row says.
    """
    made, methods = [], {}
    for method, its_points in points.items():
        drawn = []
        for number, (values, valid, test) in enumerate(its_points):
            (record,) = synthetic.records({method: lambda *_: 0.5}, [0.01], seeds=1, **columns)
            run_id = f"{method}-{number}"
            record["row"] |= {"run_id": run_id, "sweep": "space", "valid": valid, "test": test} | dict(values)
            if number in pruned_at:
                record["row"] |= {"status": "pruned", "test": math.nan}
                record["history"] = [p for p in record["history"] if p["step"] <= pruned_at[number]]
            made.append(record)
            drawn.append(Trial(values, (run_id,), 0))
        methods[method] = MethodTrials(space, (), tuple(drawn))
    synthetic.write(folder, made)
    pruning = {"pruner": "halving", "reduction": 3, "rungs": 2} if pruned_at else {}
    trials.write(folder, SpaceTrials(sampler, 0, 10, methods, **pruning))
    return folder
