"""The report of a study of a space: what it says, and what it has."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from support.records import spaces, synthetic

from analysis.report import draw


def points(best: int) -> list[spaces.Point]:
    """Twenty trials whose score falls off on both sides of the one with this number."""
    scores = [0.9 - abs(number - best) / 25 for number in range(20)]
    return [
        ({"lr": 10 ** (-4 + number / 5), "task.weight_decay": number / 100}, score, score - 0.05)
        for number, score in enumerate(scores)
    ]


def test_a_space_has_what_tuning_costs_and_which_hyperparameters_matter(tmp_path: Path) -> None:
    space = {"lr": {"log": [1e-4, 1]}, "task.weight_decay": {"float": [0, 0.2]}}
    folder = spaces.write(tmp_path / "mine", {"ether": points(12), "lora": points(5)}, space)
    page = draw(folder).read_text()
    assert "To come within 5% of what its own best trial gains over chance" in page
    assert "ETHER needs" in page
    assert "random trials." in page
    assert "PED-ANOVA" in page
    assert "task.weight_decay" in page
    assert not (folder / "robustness.csv").exists()
    assert list(pd.read_csv(folder / "tuning.csv")["label"]) == ["ether", "lora"]
    figure = pd.read_csv(folder / "figures" / "tuning_cost.csv")
    assert figure.groupby("label")["trials"].max().tolist() == [20, 20]
    assert (figure["low"] <= figure["expected"]).all()


def test_pruned_trials_enter_no_figure_and_are_counted(tmp_path: Path) -> None:
    """Of twenty trials six are trained to their end; one that was pruned had the best score at its rung."""
    space = {"lr": {"log": [1e-4, 1]}, "task.weight_decay": {"float": [0, 0.2]}}
    given = {"ether": points(12), "lora": points(5)}
    whole = (2, 5, 8, 11, 14, 17)
    first = spaces.write(tmp_path / "whole", given, space)
    steps = sorted(set(pd.read_parquet(first / "history.parquet")["step"]))
    pruned_at = {number: steps[1] for number in range(20) if number not in whole}
    folder = spaces.write(tmp_path / "pruned", given, space, pruned_at=pruned_at)
    page = draw(folder).read_text()
    share = 6 + 14 * steps[1] / steps[-1]
    assert f"14 of 20 runs of ETHER were pruned, and all of them took the steps of {share:.1f} whole" in page
    assert "PED-ANOVA" not in page
    figure = pd.read_csv(folder / "figures" / "tuning_cost.csv").set_index(["label", "trials"])["expected"]
    for label, of_label in given.items():
        tests = {number + 1: of_label[number][2] for number in whole}
        expected = pd.Series(tests).cummax()
        assert figure[label].to_dict() == pytest.approx(expected.to_dict())


def test_a_grid_has_what_tuning_costs_beside_its_robustness(tmp_path: Path) -> None:
    folder = synthetic.write(
        tmp_path / "grid", synthetic.records({k: synthetic.GOOD[k] for k in ("ether", "lora")})
    )
    page = draw(folder).read_text()
    assert "What tuning costs" in page
    assert "learning rates of the grid." in page
    assert (folder / "robustness.csv").exists()
    assert (folder / "figures" / "tuning_cost.png").exists()
