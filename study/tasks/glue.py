"""Sentences and sentence pairs with an encoder or decoder as classifier (the paper's Table 4, GLUE).

`mini`: tasks of GLUE's kinds made of English prose that ships with the project (MINIATURE), and a small
DeBERTa of v3's architecture that was pretrained on it: `study.tasks.miniature.glue`,
`study.pretraining.deberta`.
`paper`: any model for sequence classification, by hub name or local path, on GLUE's tasks (GLUE) or on any
texts, or pairs of texts, with labels: a hub data set, or a local CSV, TSV, JSON or JSONL file or a folder
of them (`study.tasks.labelled_text.rows`).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification

from study.errors import UsageError, listed
from study.settings import TaskSettings
from study.tasks import Batch, Task, base_model_path, refuse_unused
from study.tasks.data_summary import DataSummary
from study.tasks.labelled_text.lengths import text_lengths
from study.tasks.labelled_text.metrics import METRICS
from study.tasks.labelled_text.rows import LabelledText, Rows, load_labelled
from study.tasks.labelled_text.subsets import MINIATURE, choose
from study.tasks.loading.pretrained import head_layers, load_config, load_pretrained, load_tokenizer
from study.tasks.miniature import glue as miniature

PROSE = "prose"
"""The name of the miniature's data."""

WIDE = 10
"""Standard deviation of labels beyond which a head at the usual rates does not reach them in a short run."""


def _miniature(settings: TaskSettings) -> LabelledText:
    refuse_unused(settings, ("kind", "text_column", "label_column"), f"the miniature's data, {PROSE}")
    subset = choose(settings.subset, MINIATURE, "the miniature")
    splits = {
        split: Rows(texts, torch.tensor(labels))
        for split, (texts, labels) in miniature.splits(str(settings.subset)).items()
    }
    return LabelledText(subset, splits)


def _far_from_zero(labels: torch.Tensor) -> list[str]:
    """A note on numbers, (rows,), that a new head, which begins at 0, takes long to come near."""
    mean, deviation = labels.mean().item(), labels.std(correction=0).item()
    if abs(mean) <= deviation <= WIDE:
        return []
    return [
        f"labels have mean {mean:.3g} and standard deviation {deviation:.3g}: a new head begins at 0, and "
        "the first steps bring it there; labels of mean 0 and deviation 1 are learnt sooner"
    ]


class Glue(Task):
    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        self.path = base_model_path(settings)
        self.read = _miniature(settings) if settings.data == PROSE else load_labelled(settings)
        self.subset, self.splits = self.read.subset, self.read.splits
        self.metric = self.subset.metrics[0]
        self.chance = self._chance()
        self.tokenizer = load_tokenizer(self.path)
        self.tokenizer.padding_side = "right"  # as `collate` pads
        self.padding = {"input_ids": int(self.tokenizer.pad_token_id)}
        config = load_config(self.path)
        if self.tokenizer.pad_token_id >= config.vocab_size:
            raise UsageError(
                f"task.model={self.path}: its tokenizer pads with token {self.tokenizer.pad_token_id}, "
                f"the model knows {config.vocab_size}; enlarge its embeddings or change the token"
            )
        self.model_options: dict[str, Any] = {
            "num_labels": max(1, len(self.subset.classes)),
            "pad_token_id": self.tokenizer.pad_token_id,  # decoders look for the last token before it
        }
        self.head_modules = head_layers(self.path, **self.model_options)
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
        names = self.head_modules if self.settings.trains_head else []
        return load_pretrained(
            AutoModelForSequenceClassification,
            self.path,
            new_modules=[name.split(".")[0] for name in names],
            **self.model_options,
        )

    def size(self, split: str) -> int:
        return len(self.splits[split].labels)

    def training_classes(self) -> Tensor | None:
        return self.splits["train"].labels if self.subset.classes else None

    def data_summary(self) -> DataSummary:
        names, labels = self.subset.classes, self.splits["train"].labels
        counts = (
            dict(zip(names, labels.bincount(minlength=len(names)).tolist(), strict=True)) if names else {}
        )
        never = [name for name, count in counts.items() if not count]
        lengths, of_some = text_lengths(self.tokenizer, list(self.splits.values()), self.max_length)
        return replace(
            super().data_summary(),
            kind=self.subset.kind,
            columns=self.read.columns,
            classes=counts,
            lengths=lengths,
            notes=(
                *self.read.notes,
                *([f"no training row is left of class {listed(never)}"] if never else []),
                *([] if names else _far_from_zero(labels)),
                *of_some,
            ),
        )

    def examples(self, split: str, indices: Tensor) -> Batch:
        rows = self.splits[split]
        texts = [[column[i] for i in indices.tolist()] for column in rows.texts]
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
        predicted = outputs.argmax(-1) if self.subset.classes else outputs.squeeze(-1)
        return predicted.float().masked_fill(~finite, torch.nan)

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        if predictions.isnan().any():
            return dict.fromkeys(self.subset.metrics, math.nan)
        true, predicted = references["labels"].numpy(), predictions.double().numpy()
        return {name: METRICS[name](true, predicted) for name in self.subset.metrics}
