"""What a subject-driven task learns from and is judged by: new subjects, each with a few pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Example:
    """One row of a split.

    Attributes:
        subject: its number; None for a row of a class alone, in which no subject is.
        noun: what the class is called, such as `dog`.
        picture: the number of the picture that the loss is of, among those of the data; where `sampled`,
            among the class's pictures that the untouched model draws.
        caption: of that picture.
        prompt: what a picture is generated for.
        sampled: whether the picture is one that the untouched model draws.
        truth: the number of the picture that a perfect run would generate; None where nobody knows.
    """

    subject: int | None
    noun: str
    picture: int
    caption: str
    prompt: str
    sampled: bool = False
    truth: int | None = None


class SubjectData(Protocol):
    """Subjects, and the examples of each split.

    Attributes:
        names: of the subjects.
        nouns: what the class of each is called.
        examples: by split; of every subject as many in what is scored, in the same order of prompts.
        trained_on: the pictures that each subject is learnt from, by their numbers.
        notes: what was decided by rule.
    """

    names: Sequence[str]
    nouns: Sequence[str]
    examples: Mapping[str, Sequence[Example]]
    trained_on: Sequence[Sequence[int]]
    notes: tuple[str, ...]

    def pictures(self, numbers: Sequence[int]) -> Tensor:
        """(rows, 3, size, size), float32 in [-1, 1]."""
        ...


@dataclass(frozen=True)
class Judged:
    """What a judge says of pictures, one row each.

    Attributes:
        subject, prompt: how much of the subject, and of what the prompt says, is found, (rows,).
        subject_of, prompt_of: out of how much, (rows,); 0 where there is nothing to find.
        further: further scores, (rows, as many as the judge names).
        features: by which pictures of one prompt are told from each other, (rows, features).
    """

    subject: Tensor
    subject_of: Tensor
    prompt: Tensor
    prompt_of: Tensor
    further: Tensor
    features: Tensor


def mean_but(values: Tensor, there: Tensor, itself: Tensor | None) -> Tensor:
    """Means over the values that are there, without one of each row, unless it is the only one: (rows,).

    Args:
        values, there: (rows, places).
        itself: the place that is left out, (rows,); None for none.
    """
    counted = there.expand_as(values)
    if itself is not None:
        others = counted & (torch.arange(values.shape[1], device=values.device) != itself[:, None])
        counted = torch.where(others.any(1, keepdim=True), others, counted)
    return (values * counted).sum(1) / counted.sum(1)


class SubjectJudge(Protocol):
    """What generated pictures are judged by.

    Attributes:
        further: names of its further scores.
        has_truth: whether it is known of every scored example what a perfect run would generate.
    """

    further: Sequence[str]
    has_truth: bool

    def judge(self, pictures: Tensor, numbers: Tensor, itself: Tensor | None = None) -> Judged:
        """Pictures, (rows, 3, height, width) in [-1, 1], as of the examples with these numbers.

        Args:
            numbers: (rows,); examples are counted through train, valid and test.
            itself: of pictures that were learnt from themselves, which of their subject's each is, (rows,):
                it is not compared with itself.
        """
        ...

    def models(self, device: torch.device) -> list[nn.Module]:
        """What judges, on this device."""
        ...
