"""The subsets of GLUE and of its miniature: columns, classes, lengths and metrics of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from study.errors import UsageError, nearest
from study.tasks.miniature import glue as miniature


@dataclass(frozen=True)
class Subset:
    """One of a benchmark's tasks.

    Attributes:
        columns: its one or two columns of text.
        classes: names of the labels 0, 1, ...; () if the label is a number to be predicted.
        max_length: tokens, special ones included.
        metrics: the primary one first.
    """

    columns: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    max_length: int = 128
    metrics: tuple[str, ...] = ("accuracy",)

    @property
    def kind(self) -> str:
        return "classification" if self.classes else "regression"


CORRELATIONS = ("correlation", "pearson", "spearman")

GLUE = {
    "mnli": Subset(("premise", "hypothesis"), ("entailment", "neutral", "contradiction"), 256),
    "sst2": Subset(("sentence",), ("negative", "positive"), 128),
    "cola": Subset(("sentence",), ("unacceptable", "acceptable"), 64, ("matthews",)),
    "qqp": Subset(("question1", "question2"), ("not_duplicate", "duplicate"), 320, ("accuracy", "f1")),
    "qnli": Subset(("question", "sentence"), ("entailment", "not_entailment"), 512),
    "rte": Subset(("sentence1", "sentence2"), ("entailment", "not_entailment"), 320),
    "mrpc": Subset(("sentence1", "sentence2"), ("not_equivalent", "equivalent"), 320, ("accuracy", "f1")),
    "stsb": Subset(("sentence1", "sentence2"), (), 128, CORRELATIONS),
}
"""Columns, classes and metrics as GLUE defines them (Wang et al. 2019); lengths: the ETHER paper's."""

MINIATURE = {
    "acceptability": Subset(classes=("changed", "as written"), max_length=48, metrics=("matthews",)),
    "topic": Subset(classes=tuple(miniature.TOPICS), max_length=48),
    "paraphrase": Subset(classes=("another", "the same"), max_length=48),
    "similarity": Subset(max_length=48, metrics=CORRELATIONS),
}
"""What `study.tasks.miniature.glue` makes of the prose: kin of CoLA, SST-2, QQP and STS-B."""


def choose(name: str | None, known: Mapping[str, Subset], whose: str) -> Subset:
    """The subset of this name.

    Raises:
        UsageError: if there is none, with the names nearest to it.
    """
    if name is None:
        raise UsageError(f"task.subset is missing: one of {whose}'s, {', '.join(known)}")
    if name not in known:
        scale = "paper" if name in GLUE else "mini" if name in MINIATURE else None
        hint = f"{name} is at scale={scale}" if scale else nearest(name, known)
        raise UsageError(f"task.subset={name}: not one of {whose}'s; {hint}")
    return known[name]
