"""The state of a pack in training, cut to some of its runs.

Every run has its own: data and random numbers are functions of the step, so that neither has a state.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from study.storage.checkpoints import State


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
        match = re.fullmatch(r"(adapter|head)-(\d+)(.*)", name)
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
