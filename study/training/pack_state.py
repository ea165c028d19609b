"""The state of a pack in training, cut to some of its runs or joined from several packs.

Every run has its own: data and random numbers are functions of the step, so that neither has a state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import torch

from study.storage.state_file import State

RUN_TENSOR = re.compile(r"(adapter|head)-(\d+)(.*)")
"""The name of a run's vector of parameters, or of what the optimizer keeps of it; the run is its place."""


def of_runs(state: State, rows: Sequence[int]) -> State:
    """The state of some of its pack's runs, as if they had been the pack.

    Args:
        rows: their places in the pack, in the order in which they are wanted.
    """
    tensors, facts = state
    place = {row: new for new, row in enumerate(rows)}
    share = len(rows) / len(facts["first_lengths"])
    chosen = {"loss_sum": tensors["loss_sum"][list(rows)]}
    for name, value in tensors.items():
        match = RUN_TENSOR.fullmatch(name)
        if match and int(match[2]) in place:
            chosen[f"{match[1]}-{place[int(match[2])]}{match[3]}"] = value
    measured, sharpness = facts["measured"], facts.get("sharpness_start")
    return chosen, facts | {
        "diverged": [[place[run], *rest] for run, *rest in facts["diverged"] if run in place],
        "first_lengths": [facts["first_lengths"][row] for row in rows],
        "sharpness_start": [sharpness[row] for row in rows] if sharpness else [],
        "seconds": facts["seconds"] * share,
        "step_seconds": facts["step_seconds"] * share,
        "measured": {key: [of_pack[row] for row in rows] for key, of_pack in measured.items()},
    }


def joined(parts: Sequence[State]) -> State:
    """The state of a pack whose runs are those of all parts, one after the other; all are at one step."""
    tensors: dict[str, Any] = {"loss_sum": torch.cat([tensors["loss_sum"] for tensors, _ in parts])}
    every = [facts for _, facts in parts]
    measured = [facts["measured"] for facts in every]
    diverged, first = [], 0
    for part, facts in parts:
        for name, value in part.items():
            if match := RUN_TENSOR.fullmatch(name):
                tensors[f"{match[1]}-{first + int(match[2])}{match[3]}"] = value
        diverged += [[first + run, *rest] for run, *rest in facts["diverged"]]
        first += len(facts["first_lengths"])
    return tensors, every[0] | {
        "diverged": diverged,
        "first_lengths": [length for facts in every for length in facts["first_lengths"]],
        "sharpness_start": [value for facts in every for value in facts.get("sharpness_start", [])],
        "seconds": sum(facts["seconds"] for facts in every),
        "step_seconds": sum(facts["step_seconds"] for facts in every),
        "measured": {key: [row for of_part in measured for row in of_part[key]] for key in measured[0]},
    }
