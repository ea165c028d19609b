"""Sentences and sentence pairs with an encoder or decoder as classifier (the paper's Table 4, GLUE).

`mini`: tasks of GLUE's kinds made of English prose that ships with the project (MINIATURE), and a small
DeBERTa of v3's architecture that was pretrained on it; both come from `study.tasks.miniature.glue`.
`paper`: any model for sequence classification, by hub name or local path, on GLUE's tasks (GLUE) or on any
texts, or pairs of texts, with labels: a hub data set, or a local CSV, TSV, JSON or JSONL file or a folder
of them. Labels that are text, integers or booleans are classes; floating-point ones are regressed on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from study.errors import UsageError, nearest
from study.settings import TaskSettings
from study.tasks import Batch, Task
from study.tasks.loading.pretrained import load_config, load_pretrained, load_tokenizer, skeletons
from study.tasks.loading.text import MATCHED, SPLIT_NAMES, column, load_rows, three_splits
from study.tasks.miniature import glue as miniature

if TYPE_CHECKING:
    from datasets import Dataset

PROSE = "prose"
HUB = ("nyu-mll/glue", "glue")
"""Names of GLUE on the hub; any other data set there may have a `subset` of its own."""

PAIRS = {
    "text": "text2", "sentence1": "sentence2", "premise": "hypothesis", "question1": "question2",
    "question": "sentence", "sentence": "sentence2",
}  # fmt: skip
"""Columns that hold the (first) text, and the second one's beside it, in the order they are looked for."""


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


@dataclass(frozen=True)
class Rows:
    """One split: one or two columns of texts, and labels, (rows,): numbers of classes, or what to predict."""

    texts: Sequence[Sequence[str]]
    labels: Tensor


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


def from_data(source: str, name: str | None) -> tuple[Subset, dict[str, Rows]]:
    """Splits of a hub data set or local files, and what kind of task they are.

    Where the test rows have no labels (GLUE keeps its own), the validation rows are the test, and rows held
    out of training are for validation.

    Raises:
        UsageError: if the data cannot be read, lack a column, or have rows that nothing can be learnt from.
    """
    is_glue = source in HUB or (name is not None and Path(source).expanduser().exists())
    subset = choose(name, GLUE, "GLUE") if is_glue else Subset()
    found = load_rows(source, name)
    if "train" not in found:
        raise UsageError(f"task.data={source}: no train split; has {', '.join(found)}")
    if MATCHED in found:
        found["validation"] = found[MATCHED]
    parts: dict[str, Dataset] = {split: found[split] for split in SPLIT_NAMES if split in found}
    test_is_hidden = "test" in parts and _is_hidden(parts["test"])
    if test_is_hidden:
        del parts["test"]
    columns = subset.columns or _text_columns(parts["train"], source)
    for split, rows in parts.items():
        _check_rows(rows, columns, source, split)
    if is_glue:
        known: dict[Any, int] = {label: i for i, label in enumerate(subset.classes)}
        known |= {i: i for i in range(len(subset.classes))}
    else:
        known = _classes(parts["train"], source)
        classes = tuple(str(label) for label in known)
        subset = Subset(columns, classes, metrics=("accuracy",) if classes else CORRELATIONS)
    for split, rows in parts.items():
        _check_labels(rows, known, subset, source, split)
    three = three_splits(parts, test_is_hidden or (is_glue and "test" not in parts))
    return subset, {
        split: Rows([rows[column][:] for column in columns], _labels(rows["label"][:], known))
        for split, rows in three.items()
    }


def _text_columns(rows: Dataset, source: str) -> tuple[str, ...]:
    first = column(rows, tuple(PAIRS), "text", source)
    return (first, PAIRS[first]) if PAIRS[first] in rows.column_names else (first,)


def _is_hidden(rows: Dataset) -> bool:
    return "label" not in rows.column_names or all(label in (-1, None) for label in rows["label"][:])


def _check_rows(rows: Dataset, columns: Sequence[str], source: str, split: str) -> None:
    """Refuses missing columns, rows without text or label, and text that is something else."""
    for name in columns:
        column(rows, [name], "text", source)
    label = column(rows, ["label"], "label", source)
    for number, texts in enumerate(zip(*(rows[name][:] for name in columns), strict=True), 1):
        where = f"task.data={source}: row {number} of {split}"
        for name, text in zip(columns, texts, strict=True):
            if text is None:
                raise UsageError(f"{where} has no {name}")
            if not isinstance(text, str):
                raise UsageError(f"{where}: {name} is {text!r}, not text")
        if not any(text.strip() for text in texts):  # one of two may be: some of QQP's questions are
            raise UsageError(f"{where}: {' and '.join(columns)} empty")
    for number, value in enumerate(rows[label][:], 1):
        if value is None or value != value:
            raise UsageError(f"task.data={source}: row {number} of {split} has no label")


def _classes(rows: Dataset, source: str) -> dict[Any, int]:
    """Number of each class by its label; {} for labels to regress on."""
    from datasets import ClassLabel

    feature = rows.features["label"]
    if isinstance(feature, ClassLabel):
        return {i: i for i in range(feature.num_classes)}
    if "float" in str(getattr(feature, "dtype", "")):
        return {}
    try:
        values = sorted(set(rows["label"][:]))
    except TypeError:
        raise UsageError(f"task.data={source}: a label is text or a number, not {feature}") from None
    if len(values) < 2:
        raise UsageError(f"task.data={source}: every training label is {values[0]!r}; needs two or more")
    return {value: i for i, value in enumerate(values)}


def _check_labels(rows: Dataset, known: dict[Any, int], subset: Subset, source: str, split: str) -> None:
    for number, label in enumerate(rows["label"][:], 1):
        where = f"task.data={source}: label {label!r} in row {number} of {split}"
        if subset.classes and label not in known:
            raise UsageError(f"{where} is none of: {', '.join(subset.classes)}")
        if not subset.classes and not (isinstance(label, int | float) and math.isfinite(label)):
            raise UsageError(f"{where} is not a number")


def _labels(labels: Sequence[Any], known: dict[Any, int]) -> Tensor:
    return torch.tensor([known[label] if known else float(label) for label in labels])


def head_layers(path: str, **options: Any) -> list[str]:
    """The layers with parameters that a classifier has beside the pretrained model: `pooler.dense`, ...

    Not the modules that hold them: most tuners of peft cannot give back one without a weight of its own.
    """
    with skeletons():
        model = load_pretrained(AutoModelForSequenceClassification, path, [], **options)
    return [
        name
        for name, layer in model.named_modules()
        if name.split(".")[0] != model.base_model_prefix and list(layer.parameters(recurse=False))
    ]


class Glue(Task):
    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        self.path = str(miniature.CHECKPOINT) if settings.model == "shipped" else settings.model
        if settings.data == PROSE:
            self.subset = choose(settings.subset, MINIATURE, "the miniature")
            made = miniature.splits(str(settings.subset))
            self.splits = {
                split: Rows(texts, torch.tensor(labels)) for split, (texts, labels) in made.items()
            }
        else:
            self.subset, self.splits = from_data(settings.data, settings.subset)
        self.metric = self.subset.metrics[0]
        self.chance = self._chance()
        self.tokenizer = load_tokenizer(self.path)
        self.tokenizer.padding_side = "right"  # as `join` does
        self.padding = {"input_ids": int(self.tokenizer.pad_token_id)}
        config = load_config(self.path)
        if self.tokenizer.pad_token_id >= config.vocab_size:
            raise UsageError(
                f"task.model={self.path}: its tokenizer pads with token {self.tokenizer.pad_token_id}, "
                f"the model knows {config.vocab_size}; enlarge its embeddings or change the token"
            )
        self.of_model: dict[str, Any] = {
            "num_labels": max(1, len(self.subset.classes)),
            "pad_token_id": self.tokenizer.pad_token_id,  # decoders look for the last token before it
        }
        self.head_modules = head_layers(self.path, **self.of_model)
        self.max_length = self._max_length(config)
        self.inputs = ["input_ids", "attention_mask"]
        if getattr(config, "type_vocab_size", 0) > 1:  # tells the two texts of a pair apart
            self.inputs.append("token_type_ids")

    def _chance(self) -> float:
        """Accuracy on test of naming the most frequent class of training; no correlation otherwise."""
        if self.metric != "accuracy":
            return 0.0
        most_frequent = self.splits["train"].labels.bincount().argmax()
        return (self.splits["test"].labels == most_frequent).double().mean().item()

    def _max_length(self, config: Any) -> int:
        """Tokens of the longest text: the setting, or the subset's length as far as the model reaches."""
        reach = min(getattr(config, "max_position_embeddings", math.inf), self.tokenizer.model_max_length)
        wanted = self.settings.max_length
        if wanted is None:
            return int(min(self.subset.max_length, reach))
        if wanted > reach:
            raise UsageError(f"task.max_length={wanted}: {self.settings.model} takes at most {reach} tokens")
        return wanted

    def model(self) -> nn.Module:
        return load_pretrained(
            AutoModelForSequenceClassification,
            self.path,
            new_modules=[name.split(".")[0] for name in self.head_modules] if self.settings.head_lr else [],
            **self.of_model,
        )

    def size(self, split: str) -> int:
        return len(self.splits[split].labels)

    def examples(self, split: str, indices: Tensor) -> Batch:
        rows = self.splits[split]
        texts = [[own[i] for i in indices.tolist()] for own in rows.texts]
        encoded = self.tokenizer(
            *texts,
            truncation=True,
            max_length=self.max_length,
            padding=True,
            return_token_type_ids="token_type_ids" in self.inputs,
            return_tensors="pt",
        )
        return {name: encoded[name] for name in self.inputs} | {"labels": rows.labels[indices]}

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(**{name: batch[name] for name in self.inputs}).logits  # (rows, classes) or (rows, 1)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        if self.subset.classes:
            return F.cross_entropy(outputs.float(), batch["labels"], reduction="none")
        return (outputs.squeeze(-1).float() - batch["labels"]).square()

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        finite = torch.isfinite(outputs).all(-1)
        found = outputs.argmax(-1) if self.subset.classes else outputs.squeeze(-1)
        return found.float().masked_fill(~finite, torch.nan)

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        found, true = predictions.double().numpy(), references["labels"].numpy()
        if np.isnan(found).any():
            return dict.fromkeys(self.subset.metrics, math.nan)
        return {name: METRICS[name](true, found) for name in self.subset.metrics}


def _correlation(function: Any, true: np.ndarray, found: np.ndarray) -> float:
    """Pearson's or Spearman's; undefined where nothing varies, which is no better than chance."""
    if np.ptp(found) == 0 or np.ptp(true) == 0:
        return 0.0
    return float(function(true, found).statistic)


METRICS: dict[str, Any] = {
    "accuracy": lambda true, found: float(accuracy_score(true, found)),
    "f1": lambda true, found: float(f1_score(true, found, zero_division=0)),
    "matthews": lambda true, found: float(matthews_corrcoef(true, found)),
    "pearson": lambda true, found: _correlation(pearsonr, true, found),
    "spearman": lambda true, found: _correlation(spearmanr, true, found),
    "correlation": lambda true, found: (
        (METRICS["pearson"](true, found) + METRICS["spearman"](true, found)) / 2
    ),
}
"""GLUE's, of true and found labels, (rows,) each; f1 of the second of two classes."""
