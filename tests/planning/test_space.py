"""Trials drawn from a space: Optuna's own draws, a function of space, sampler, seed and results alone."""

from __future__ import annotations

import warnings

import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from study.errors import UsageError
from study.planning.space import RunResult, Told, ask, distributions, of_method, splits_packs, tell

SPACE = {
    "lr": {"log": [1e-4, 1]},
    "task.weight_decay": {"float": [0, 0.1]},
    "method.lora.r": [2, 8, 32],
    "task.evaluations": {"int": [1, 6]},
}
BY_HAND = {
    "lr": FloatDistribution(1e-4, 1, log=True),
    "task.weight_decay": FloatDistribution(0, 0.1),
    "method.lora.r": CategoricalDistribution([2, 8, 32]),
    "task.evaluations": IntDistribution(1, 6),
}


def score(values: dict) -> float:
    return 1.0 - abs(np.log10(values["lr"]) + 2) / 4


def told_of(points: list[dict]) -> list[Told]:
    return [Told(values, score(values)) for values in points]


def test_the_distributions_are_optunas_own() -> None:
    assert distributions(SPACE) == BY_HAND


def test_random_is_what_optuna_draws_by_hand() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    by_hand = [study.ask(BY_HAND).params for _ in range(20)]
    assert ask(SPACE, "random", 3, [], 20) == by_hand


def test_random_rates_are_numpys_uniform_numbers() -> None:
    rng = np.random.RandomState(3)
    exponents = [rng.uniform(np.log(1e-4), np.log(1)) for _ in range(10)]
    drawn = ask({"lr": SPACE["lr"]}, "random", 3, [], 10)
    assert [point["lr"] for point in drawn] == pytest.approx(np.exp(exponents), rel=1e-12)


def test_the_first_wave_of_tpe_is_what_optuna_draws_by_hand() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=1, constant_liar=True))
    by_hand = [study.ask(BY_HAND).params for _ in range(8)]
    assert ask(SPACE, "tpe", 1, [], 8) == by_hand


@pytest.mark.parametrize("sampler", ["random", "qmc"])
def test_more_trials_begin_with_the_same(sampler: str) -> None:
    first = ask(SPACE, sampler, 0, [], 6)
    assert first + ask(SPACE, sampler, 0, told_of(first), 4) == ask(SPACE, sampler, 0, [], 10)


def test_qmc_covers_the_range_more_evenly_than_random() -> None:
    """Of 64 equal parts of the logarithm, 64 random points hit 41 on average, Sobol's nearly all."""

    def parts_hit(sampler: str) -> int:
        drawn = ask({"lr": SPACE["lr"], "task.weight_decay": {"float": [0, 1]}}, sampler, 0, [], 64)
        return len({int(16 * (np.log10(point["lr"]) + 4)) for point in drawn})

    assert parts_hit("qmc") >= 60
    assert parts_hit("random") < 50


@pytest.mark.parametrize("sampler", ["tpe", "gp"])
def test_a_wave_is_a_function_of_what_was_told(sampler: str) -> None:
    told = told_of(ask(SPACE, "random", 0, [], 12))
    wave = ask(SPACE, sampler, 0, told, 3)
    assert wave == ask(SPACE, sampler, 0, told, 3)
    assert wave != ask(SPACE, sampler, 0, told[:-1], 3)
    assert len({point["lr"] for point in wave}) == 3  # none is asked for twice


def test_tpe_learns_where_scores_are_good() -> None:
    told: list[Told] = []
    for _ in range(5):
        told += told_of(ask(SPACE, "tpe", 0, told, 10))
    late = np.mean([abs(np.log10(each.values["lr"]) + 2) for each in told[-10:]])
    assert late < 0.6 < np.mean([abs(np.log10(each.values["lr"]) + 2) for each in told[:10]])


def test_what_the_method_refuses_is_drawn_again() -> None:
    drawn = ask(SPACE, "random", 0, [], 30, fits=lambda values: values["method.lora.r"] != 8)
    every = ask(SPACE, "random", 0, [], 60)
    assert drawn == [point for point in every if point["method.lora.r"] != 8][:30]
    with pytest.raises(UsageError, match="next to no point"):
        ask(SPACE, "random", 0, [], 1, fits=lambda values: False)


def test_what_is_told_by_hand() -> None:
    def of(status: str, valid: float) -> RunResult:
        return RunResult(status, valid, True)

    nan = float("nan")
    trials = [
        ({"lr": 1.0}, [of("ok", 0.8), of("ok", 0.6)]),
        ({"lr": 2.0}, [of("diverged", 0.3), of("ok", 0.5)]),
        ({"lr": 3.0}, [of("failed", nan), of("ok", 0.4)]),
        ({"lr": 4.0}, [of("failed", nan), of("failed", nan)]),
        ({"lr": 5.0}, [of("diverged", 0.1), of("diverged", 0.2)]),
    ]
    assert [t.score for t in tell(trials, higher_is_better=True)] == pytest.approx([0.7, 0.3, 0.4, None, 0.1])
    worst_is_most = [t.score for t in tell(trials, higher_is_better=False)]
    assert worst_is_most == pytest.approx([0.7, 0.65, 0.4, None, 0.8])


def test_a_method_has_what_is_its_own_and_what_is_common() -> None:
    space = {"lr": [1, 2], "method.ether.blocks": [1], "method.ether_plus.blocks": [4], "task.steps": [5]}
    assert list(of_method(space, "ether")) == ["lr", "method.ether.blocks", "task.steps"]


def test_rates_weight_decay_and_noise_share_packs() -> None:
    keys = ("lr", "task.weight_decay", "task.noise", "task.batch_size", "task.steps", "method.lora.r")
    assert [splits_packs(key) for key in keys] == [False, False, False, True, True, True]
