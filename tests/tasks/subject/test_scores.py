"""Scores of pictures of a subject, against values by hand."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from study.tasks.diffusion.subjects import Judged, mean_but
from study.tasks.diffusion.subjects.scores import (
    diversity,
    fidelities,
    further_scores,
    harmonic_mean,
    judgement,
    prompt_fidelity,
)


class Read:
    """A judge of pictures whose first pixels are what it says of them."""

    further = ("apart",)
    has_truth = False

    def judge(self, pictures: Tensor, numbers: Tensor, itself: Tensor | None = None) -> Judged:
        said = pictures.flatten(1)
        return Judged(said[:, 0], said[:, 1], said[:, 2], said[:, 3], said[:, 4:5], said[:, 5:8])

    def models(self, device: torch.device) -> list[torch.nn.Module]:
        return []


def judged(rows: list[list[float]]) -> Tensor:
    pictures = torch.tensor(rows).view(len(rows), 1, 2, 4)
    return judgement(Read(), pictures, torch.arange(len(rows)))


ROWS = [
    # subject, of, prompt, of, apart, features
    [4.0, 6.0, 2.0, 2.0, 0.1, 1.0, 0.0, 0.0],
    [1.0, 4.0, 0.0, 2.0, 0.3, 0.0, 2.0, 0.0],
    [0.0, 0.0, 3.0, 4.0, 0.2, 3.0, 0.0, 0.0],
]


def test_scores_of_three_pictures_by_hand() -> None:
    rows = judged(ROWS)
    made = fidelities(rows)
    assert made["subject_fidelity"] == pytest.approx(5 / 10)
    assert made["prompt_fidelity"] == pytest.approx(5 / 8)
    assert made["fidelity"] == pytest.approx(2 * 0.5 * 0.625 / 1.125)
    assert prompt_fidelity(rows) == pytest.approx(5 / 8)
    assert further_scores(rows, Read.further) == {"apart": pytest.approx(0.2)}


def test_diversity_is_between_pictures_of_one_prompt() -> None:
    rows = judged(ROWS)
    assert diversity(rows, torch.tensor([7, 7, 9]), 1) == pytest.approx(1.0)  # at a right angle
    assert diversity(rows, torch.tensor([7, 8, 7]), 1) == pytest.approx(
        0.0, abs=1e-9
    )  # whatever their length
    assert diversity(rows, torch.tensor([7, 7, 7]), 1) == pytest.approx(2 / 3)
    assert math.isnan(diversity(rows, torch.tensor([1, 2, 3]), 1))


@pytest.mark.parametrize(
    ("a", "b", "expected"), [(1.0, 1.0, 1.0), (0.5, 1.0, 2 / 3), (0.0, 1.0, 0.0), (-0.1, 0.9, 0.0)]
)
def test_the_harmonic_mean_is_nothing_where_one_part_is(a: float, b: float, expected: float) -> None:
    assert harmonic_mean(a, b) == pytest.approx(expected) == harmonic_mean(b, a)
    assert math.isnan(harmonic_mean(a, math.nan)) and math.isnan(harmonic_mean(math.nan, b))


def test_one_picture_that_is_not_finite_leaves_no_score() -> None:
    rows = [list(row) for row in ROWS]
    rows[1][6] = math.inf
    made = judged(rows)
    assert made[1].isnan().all() and torch.isfinite(made[[0, 2]]).all()
    assert all(math.isnan(value) for value in fidelities(made).values())
    assert math.isnan(diversity(made, torch.tensor([7, 7, 7]), 1))


def test_a_picture_is_not_compared_with_itself_unless_there_is_no_other() -> None:
    values = torch.tensor([[1.0, 3.0, 5.0], [1.0, 3.0, 100.0], [7.0, 100.0, 100.0]])
    there = torch.tensor([[True, True, True], [True, True, False], [True, False, False]])
    assert mean_but(values, there, None).tolist() == [3.0, 2.0, 7.0]
    assert mean_but(values, there, torch.tensor([0, 1, 0])).tolist() == [4.0, 1.0, 7.0]
    assert mean_but(values, there, torch.tensor([-1, -1, -1])).tolist() == [3.0, 2.0, 7.0]
