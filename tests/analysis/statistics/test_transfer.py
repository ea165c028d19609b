"""Regrets of rates that were tuned elsewhere, by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from support.records import synthetic
from support.records.synthetic import hill

from analysis.statistics.transfer import profile, transfer

LRS = [1e-3, 1e-2, 1e-1]


def task(scores: dict[str, list[float]], **columns: object) -> pd.DataFrame:
    """The runs of a task: for each method its score at each of LRS, the same in three seeds."""

    def curve(values: list[float]) -> synthetic.Curve:
        return lambda log_lr, seed: values[round(log_lr) + 3]

    return synthetic.runs({m: curve(values) for m, values in scores.items()}, LRS, 3, **columns)


TASKS = {  # chance is .1: of what LoRA can gain on the first task, .8, a loss of .2 is a quarter
    "first": task({"lora": [0.5, 0.9, 0.7], "oft": [0.5, 0.5, 0.5]}),
    "second": task({"lora": [0.2, 0.3, 0.6], "oft": [0.4, 0.4, 0.4]}),
}


def test_the_matrix_by_hand() -> None:
    found = transfer(TASKS)
    assert found is not None and found.tasks == ["first", "second"]
    lora, oft = found.by_label["lora"], found.by_label["oft"]
    assert lora.lrs.tolist() == pytest.approx([1e-2, 1e-1])
    assert lora.matrix[0] == pytest.approx(np.array([[0, (0.6 - 0.3) / 0.5], [(0.9 - 0.7) / 0.8, 0]]))
    assert lora.mean_regret[0] == pytest.approx((0.6 + 0.25) / 2)
    assert oft.matrix[0] == pytest.approx(0), "one that does not depend on the rate loses nothing"
    assert oft.gap[0] == pytest.approx([0.5, 0.4]) and lora.gap[0] == pytest.approx(0)


def test_one_rate_for_all_is_chosen_without_the_task_that_is_tested() -> None:
    found = transfer(TASKS | {"third": task({"lora": [0.3, 0.8, 0.9], "oft": [0.5, 0.5, 0.5]})})
    assert found is not None
    lora = found.by_label["lora"]
    assert lora.rates.tolist() == pytest.approx([1e-1, 1e-2, 1e-1]), "of 2+3, of 1+3, of 1+2"
    assert lora.left_out[0] == pytest.approx([0.2 / 0.8, 0.3 / 0.5, 0])
    assert found.table().set_index("label").loc["lora", "left_out"] == pytest.approx(np.mean([0.25, 0.6, 0]))


def test_tuning_is_on_validation_and_loss_on_test() -> None:
    overfit = TASKS["first"].assign(test=TASKS["first"]["test"] - 0.3 * (TASKS["first"]["lr"] == 1e-2))
    found = transfer(TASKS | {"first": overfit})
    assert found is not None
    assert found.by_label["lora"].lrs[0] == pytest.approx(1e-2)
    best = 0.6  # LoRA's at its tuned rate, on test: another rate has more, and a regret can be negative
    assert found.by_label["lora"].matrix[0, 1, 0] == pytest.approx((0.6 - 0.7) / (best - 0.1))


def test_less_can_be_better() -> None:
    def loss(scores: dict[str, list[float]]) -> pd.DataFrame:
        made = task(scores)
        flip = {name: 1 - made[name] for name in ("valid", "test", "chance", "base_test", "base_valid")}
        return made.assign(higher_is_better=False, **flip)

    first = loss({"lora": [0.5, 0.9, 0.7], "oft": [0.5, 0.5, 0.5]})
    turned, found = transfer(TASKS | {"first": first}), transfer(TASKS)
    assert turned is not None and found is not None
    assert turned.by_label["lora"].matrix == pytest.approx(found.by_label["lora"].matrix)


def test_a_rate_that_a_task_never_ran_loses_nothing_that_is_known() -> None:
    short = TASKS["first"][TASKS["first"]["lr"] < 0.05]
    found = transfer(TASKS | {"first": short})
    assert found is not None
    assert np.isnan(found.by_label["lora"].matrix[0, 1, 0]) and np.isfinite(
        found.by_label["lora"].mean_regret[0]
    )
    apart = TASKS["second"].assign(lr=3 * TASKS["second"]["lr"])
    nothing = transfer(TASKS | {"second": apart})
    assert nothing is not None and np.isnan(nothing.by_label["lora"].rates).all()


def test_who_does_not_learn_takes_no_part() -> None:
    idle = task({"lora": [0.1, 0.1, 0.1], "oft": [0.4, 0.4, 0.4]})
    found = transfer(TASKS | {"idle": idle})
    assert found is not None and found.tasks == ["first", "second"]
    assert found.not_taking_part == {"idle": ["lora"]}
    never = {name: pd.concat([runs, task({"hra": [0.1] * 3})]) for name, runs in TASKS.items()}
    found = transfer(never)
    assert found is not None and list(found.by_label) == ["lora", "oft"]
    assert found.not_taking_part == {"hra": []}
    assert transfer({"first": TASKS["first"]}) is None and transfer({"a": idle, "b": idle}) is not None


def test_the_interval_is_of_the_seeds() -> None:
    same = transfer(TASKS)
    assert same is not None
    row = same.table().set_index("label").loc["lora"]
    assert row["regret_low"] == pytest.approx(row["regret"]) == pytest.approx(row["regret_high"])
    curves = {"lora": hill(-2, 1.5, noise=0.1), "oft": hill(-2, 6, 0.5)}
    noisy = transfer(
        {"a": synthetic.runs(curves), "b": synthetic.runs(curves | {"lora": hill(-1, 1.5, noise=0.1)})}
    )
    assert noisy is not None
    row = noisy.table().set_index("label").loc["lora"]
    assert row["regret_low"] < row["regret"] < row["regret_high"]


def test_profiles_by_hand() -> None:
    gap = np.array([[0.0, 0.1, 0.5, 1.2]])
    assert profile(gap, np.array([0.0, 0.1, 0.49, 1.0])).tolist() == [[0.25, 0.5, 0.5, 0.75]]
