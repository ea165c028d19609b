"""Scores of pictures of a subject: is it the subject, and is it what the prompt says?

A picture's judgement is a row of numbers, so that those of a split can be gathered and added up:

    subject, out of, prompt, out of | further scores of the judge | features
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from study.tasks.diffusion.subjects import SubjectJudge

FIDELITY = "fidelity"
PARTS = ("subject_fidelity", "prompt_fidelity")


def judgement(judge: SubjectJudge, pictures: Tensor, numbers: Tensor, itself: Tensor | None = None) -> Tensor:
    """A row per picture, (rows, 4 + further + features); nan where a picture is not finite.

    Args:
        pictures: (rows, 3, height, width) in [-1, 1].
        numbers: of their examples, (rows,).
        itself: see `SubjectJudge.judge`.
    """
    finite = torch.isfinite(pictures).flatten(1).all(1)
    judged = judge.judge(pictures.where(finite.view(-1, 1, 1, 1), 0.0), numbers, itself)
    counts = [judged.subject, judged.subject_of, judged.prompt, judged.prompt_of]
    parts = [torch.stack([count.float() for count in counts], 1), judged.further, judged.features]
    return torch.cat([part.float() for part in parts], 1).masked_fill(~finite[:, None], math.nan)


def fidelities(judgements: Tensor) -> dict[str, float]:
    """Subject and prompt fidelity, and their harmonic mean: 0 if one of them is.

    Args:
        judgements: of pictures of a subject, (rows, ...).
    """
    subject, subject_of, prompt, prompt_of = judgements[:, :4].double().sum(0).tolist()
    parts = _share(subject, subject_of), _share(prompt, prompt_of)
    return {FIDELITY: harmonic_mean(*parts), **dict(zip(PARTS, parts, strict=True))}


def harmonic_mean(a: float, b: float) -> float:
    """Of two numbers of at least 0; 0 if one is less, as a similarity may be."""
    if math.isnan(a) or math.isnan(b):
        return math.nan
    return 2 * a * b / (a + b) if a > 0 and b > 0 else 0.0


def further_scores(judgements: Tensor, names: Sequence[str]) -> dict[str, float]:
    """Means of a judge's further scores over pictures."""
    values = judgements[:, 4 : 4 + len(names)].double().mean(0).tolist()
    return dict(zip(names, values, strict=True))


def prompt_fidelity(judgements: Tensor) -> float:
    """Of pictures in which no subject is."""
    prompt, prompt_of = judgements[:, 2:4].double().sum(0).tolist()
    return _share(prompt, prompt_of)


def diversity(judgements: Tensor, prompts: Tensor, further: int) -> float:
    """Mean distance, 1 - cosine, of the features of two pictures of one prompt; nan without any.

    Args:
        prompts: a number for each row's prompt, (rows,).
        further: how many further scores the judge gives.
    """
    features = F.normalize(judgements[:, 4 + further :].double(), dim=1)
    same = (prompts[:, None] == prompts) & ~torch.eye(len(prompts), dtype=torch.bool)
    distances = (1 - features @ features.T)[same]
    return distances.mean().item() if len(distances) else math.nan


def _share(found: float, of: float) -> float:
    return found / of if of else math.nan
