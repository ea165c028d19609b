"""Image classification with a ViT adapted to a shifted data set (the paper's appendix E, VTAB).

`mini`: scikit-learn's handwritten digits. A small ViT is pretrained on the upright ones and adapted to the
same kind of digits turned by 90 degrees and inverted (`study.tasks.miniature.digits`). Its checkpoint ships
with the project; `python -m study.pretraining.vit` makes it.
`paper`: any ViT by hub name or local path on any image folder or `datasets` data set.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForImageClassification

from study.settings import TaskSettings
from study.tasks import Batch, Task, base_model_path
from study.tasks.loading.images import load_images
from study.tasks.loading.pretrained import load_pretrained
from study.tasks.miniature.digits import SHIFTED, UPRIGHT, digits


class Vtab(Task):
    metric = "accuracy"
    head_modules = ("classifier",)

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        self.path = base_model_path(settings)
        self.splits: dict[str, Any]
        if settings.data in (UPRIGHT, SHIFTED):
            self.splits = digits(shifted=settings.data == SHIFTED)
            self.classes = [str(digit) for digit in range(10)]
        else:
            self.splits, self.classes = load_images(settings.data, self.path)
        self.chance = 1 / len(self.classes)

    def model(self) -> nn.Module:
        return load_pretrained(
            AutoModelForImageClassification,
            self.path,
            new_modules=self.head_modules if self.settings.head_lr else [],
            num_labels=len(self.classes),
        )

    def size(self, split: str) -> int:
        part = self.splits[split]
        return len(part["labels"]) if isinstance(part, dict) else len(part)

    def examples(self, split: str, indices: Tensor) -> Batch:
        part = self.splits[split]
        if isinstance(part, dict):
            return {name: column[indices] for name, column in part.items()}
        rows = part[indices.tolist()]
        return {
            "pixel_values": torch.stack(rows["pixel_values"]),
            "labels": torch.tensor(rows["labels"]),
        }

    def forward(self, model: nn.Module, batch: Batch) -> Tensor:
        return model(pixel_values=batch["pixel_values"]).logits  # (rows, classes)

    def losses(self, outputs: Tensor, batch: Batch) -> Tensor:
        return F.cross_entropy(outputs.float(), batch["labels"], reduction="none")

    def predictions(self, outputs: Tensor, batch: Batch) -> Tensor:
        finite = torch.isfinite(outputs).all(-1)
        return outputs.argmax(-1).float().masked_fill(~finite, torch.nan)

    def metrics(self, predictions: Tensor, references: Batch) -> dict[str, float]:
        if predictions.isnan().any():
            return {"accuracy": float("nan")}
        return {"accuracy": (predictions == references["labels"]).double().mean().item()}
