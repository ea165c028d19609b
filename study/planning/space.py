"""Trials of a method: points that one of Optuna's samplers draws from the method's *space*.

A space gives a method's hyperparameters their ranges or choices. A *wave* is the trials that are asked for
together, before any of them has a result. Trials are a function of the space, the sampler, its seed and what
the waves before came to, never of how long anything took; so the same command asks for the same trials.

`random` and `qmc` look at no result: trial i is the i-th of their sequence, however many are asked for, and
all of them are one wave. `tpe` and `gp` learn from results; each wave starts from a sampler of its own.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from study.errors import UsageError
from study.planning.runs import PER_RUN, digest
from study.settings import SweepSettings

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

LEARNING = ("tpe", "gp")
"""Samplers that look at results."""

RANGES = ("log", "float", "int")
"""Kinds of ranges: of numbers evenly spread in their logarithm, of numbers, of whole numbers."""

MOST_REFUSED = 1000
"""So many draws in a row that the method refuses are no accident."""

Values = Mapping[str, Any]
"""A point: values by key, such as `lr` and `method.lora.r`."""


@dataclass(frozen=True)
class RunResult:
    """How a run of a trial ended.

    Attributes:
        valid: the validation score; nan if it failed.
        step: at which it was pruned; 0 if it was not.
    """

    status: str
    valid: float
    higher_is_better: bool
    step: int = 0


@dataclass(frozen=True)
class Told:
    """A trial that has ended.

    Attributes:
        score: what the sampler is told; None if all of its runs failed.
        pruned_at: the step of that score, if the trial was pruned; else 0.
    """

    values: Values
    score: float | None
    pruned_at: int = 0


def of_method(space: Mapping[str, Any], method: str) -> dict[str, Any]:
    """The part of a space that a method has: all but other methods' options."""
    return {
        k: v for k, v in space.items() if not k.startswith("method.") or k.startswith(f"method.{method}.")
    }


def distributions(space: Mapping[str, Any]) -> dict[str, BaseDistribution]:
    """Optuna's distribution of each key of a space that has been checked (`study.config.space`)."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    made: dict[str, BaseDistribution] = {}
    with _quiet():
        for key, values in space.items():
            match values:
                case {"log": [low, high]}:
                    made[key] = FloatDistribution(low, high, log=True)
                case {"float": [low, high]}:
                    made[key] = FloatDistribution(low, high)
                case {"int": [low, high]}:
                    made[key] = IntDistribution(low, high)
                case _:
                    made[key] = CategoricalDistribution(values)
    return made


def splits_packs(key: str) -> bool:
    """Whether runs that differ in this key cannot train in one pack."""
    return key != "lr" and key.removeprefix("task.") not in PER_RUN


def listed_values(values: Any) -> list[Any] | None:
    """Every value that a key can take; None where there is no end of them."""
    match values:
        case {"int": [low, high]}:
            return list(range(low, high + 1))
        case list():
            return values
    return None


def expected_runs(space: Mapping[str, Any], settings: SweepSettings) -> int:
    """How many runs of a wave of one method fall to one pack's settings, on average; 2 or more."""
    count = min(settings.trials, settings.wave) if settings.sampler in LEARNING else settings.trials
    kinds = math.prod(len(listed_values(values) or [0]) for key, values in space.items() if splits_packs(key))
    return max(2, math.ceil(count * len(settings.chosen_seeds) / kinds))


def combinations(space: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Every combination of values of a method's options, of which each has an end."""
    options = {key: listed_values(values) or [] for key, values in space.items() if key.startswith("method.")}
    for chosen in itertools.product(*options.values()):
        yield dict(zip(options, chosen, strict=True))


def ask(
    space: Mapping[str, Any],
    sampler: str,
    seed: int,
    told: Sequence[Told],
    count: int,
    higher_is_better: bool = True,
    fits: Callable[[Values], bool] = lambda values: True,
) -> list[dict[str, Any]]:
    """The next trials of one method, which come after those that have been told.

    Args:
        space: the method's, checked.
        count: of trials to ask for; a sampler that learns takes those as running that it was asked for
            before (`tpe`: as bad ones, the constant liar).
        fits: whether the method takes these values; what it refuses is drawn again.

    Raises:
        UsageError: if next to nothing fits.
    """
    learns = sampler in LEARNING
    wanted = count if learns else len(told) + count
    own_seed = seed if not (learns and told) else int(digest([seed, len(told)]), 16) % 2**32
    drawn: list[dict[str, Any]] = []
    refused = 0
    ranges = distributions(space)
    with _quiet():
        study = _study(_sampler(sampler, own_seed), higher_is_better)
        if learns:
            study.add_trials([frozen(ranges, each) for each in told])
        while len(drawn) < wanted:
            trial = study.ask(ranges)
            if fits(trial.params):
                drawn.append(dict(trial.params))
                refused = 0
                continue
            _tell_failure(study, trial.number)
            if (refused := refused + 1) > MOST_REFUSED:
                raise UsageError("next to no point of the space fits the method; take out what it refuses")
    return drawn[-count:] if count else []


def tell(trials: Sequence[tuple[Values, Sequence[RunResult]]], higher_is_better: bool) -> list[Told]:
    """What the sampler is told of trials whose runs have ended.

    A trial's score is the mean over its runs that did not fail. A diverged run has the worst score of all
    runs, so that it is never a good one.
    """
    ended = [run for _, runs in trials for run in runs if run.status != "failed" and math.isfinite(run.valid)]
    worst = (min if higher_is_better else max)((run.valid for run in ended), default=math.nan)
    told = []
    for values, runs in trials:
        scores = [worst if run.status == "diverged" else run.valid for run in runs if run.status != "failed"]
        step = max((run.step for run in runs), default=0)
        told.append(Told(values, math.fsum(scores) / len(scores) if scores else None, step))
    return told


def frozen(ranges: Mapping[str, BaseDistribution], told: Told, **known: Any) -> FrozenTrial:
    """An ended trial as Optuna has it.

    Args:
        known: further attributes that the trial is to have.
    """
    from optuna.trial import TrialState, create_trial

    state = TrialState.PRUNED if told.pruned_at else TrialState.COMPLETE
    return create_trial(
        state=TrialState.FAIL if told.score is None else state,
        params=dict(told.values),
        distributions=dict(ranges),
        value=told.score,
        intermediate_values={told.pruned_at: told.score} if told.pruned_at and told.score is not None else {},
        user_attrs=known,
    )


def _study(sampler: BaseSampler, higher_is_better: bool) -> Study:
    import optuna

    return optuna.create_study(direction="maximize" if higher_is_better else "minimize", sampler=sampler)


def _sampler(name: str, seed: int) -> BaseSampler:
    from optuna import samplers

    if name == "random":
        return samplers.RandomSampler(seed=seed)
    if name == "qmc":
        return samplers.QMCSampler(seed=seed, scramble=True, warn_independent_sampling=False)
    if name == "tpe":
        return samplers.TPESampler(seed=seed, constant_liar=True)
    return samplers.GPSampler(seed=seed)


def _tell_failure(study: Study, number: int) -> None:
    from optuna.trial import TrialState

    study.tell(number, state=TrialState.FAIL)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Optuna says on stderr of every trial that it is there, and of samplers that they are new."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    optuna.logging.set_verbosity(verbosity)
