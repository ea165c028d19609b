"""Pruning: trials train a part of their steps, and only the better ones go on.

*Successive halving* (Jamieson and Talwalkar 2016, arXiv 1502.07943) lets every trial train up to a *rung*, a
share of its steps; the best `1 / reduction` of them go on to the next one, the others are *pruned*.
*Hyperband* (Li et al. 2018, arXiv 1603.06560) does that in *brackets*: some trials pass all rungs, some
begin at a later one, and some are never pruned, for what is best early need not be best in the end.

Trials are judged together that were drawn together, in one wave of one method and one bracket, and only when
all of them have reached the rung. So what is pruned is a function of the settings and of scores, never of
time, packs or workers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from study.planning.runs import Run
from study.settings import SweepSettings, TaskSettings


@dataclass(frozen=True)
class Round:
    """What is to be done of a study before anything of it is decided anew.

    Attributes:
        runs: all that are known so far, also those that are done.
        stops: by run_id the step at which a run is paused; the others train to their end.
    """

    runs: Sequence[Run]
    stops: Mapping[str, int] = field(default_factory=dict)


def rung_steps(task: TaskSettings, reduction: int, rungs: int) -> list[int]:
    """The steps at which a run is judged, ascending; its end is none of them.

    Rung k before the end is at `1 / reduction^k` of the steps, or at the first evaluation after that: a run
    is judged by a score that it has anyway. One that is never measured on its way has none.
    """
    measured = sorted(task.evaluation_steps())
    if not measured:
        return []
    wanted = [task.steps / reduction**k for k in range(rungs, 0, -1)]
    return [next(step for step in measured if step >= share) for share in wanted]


def brackets(settings: SweepSettings, trials: int) -> list[int]:
    """How many rungs each trial of a wave has, in the order in which they were drawn.

    Hyperband's share of a bracket with s rungs is `ceil((rungs + 1) / (s + 1) * reduction^s)`: about as many
    steps are trained in each bracket.
    """
    if settings.pruner == "halving":
        return [settings.rungs] * trials
    shares = {
        s: math.ceil((settings.rungs + 1) / (s + 1) * settings.reduction**s)
        for s in range(settings.rungs, -1, -1)
    }
    pattern = [s for s, share in shares.items() for _ in range(share)]
    return list(itertools.islice(itertools.cycle(pattern), trials))


def promoted(scores: Sequence[float | None], reduction: int, higher_is_better: bool) -> set[int]:
    """Which of the trials at a rung go on: the best `1 / reduction` of all, but at least one.

    Args:
        scores: on validation; None of a trial that cannot go on, for it diverged or failed. Of equal ones the
            earlier trial is taken.

    Returns:
        Places in `scores`; none if no trial can go on.
    """
    able = [place for place, score in enumerate(scores) if score is not None]
    sign = -1.0 if higher_is_better else 1.0
    ranked = sorted(able, key=lambda place: (sign * (scores[place] or 0.0), place))
    return set(ranked[: max(1, len(scores) // reduction)])
