"""Image classification with a ViT adapted to a shifted data set (the paper's appendix E, VTAB).

`mini`: scikit-learn's handwritten digits. A small ViT is pretrained on the upright ones and adapted to the
same kind of digits turned by 90 degrees and inverted (`study.tasks.miniature.digits`). Its checkpoint ships
with the project; `python -m study.pretraining.vit` makes it.
`paper`: any ViT by hub name or local path on any image folder or `datasets` data set.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForImageClassification

from study.errors import UsageError
from study.naming import is_shipped
from study.settings import TaskSettings
from study.tasks import Batch, Task, base_model_path, refuse_unused
from study.tasks.data_summary import DataSummary
from study.tasks.loading.images import Images, load_images
from study.tasks.loading.pretrained import load_config, load_pretrained
from study.tasks.miniature.digits import SHIFTED, UPRIGHT, digits


class Vtab(Task):
    metric = "accuracy"
    head_modules = ("classifier",)

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        self.path = base_model_path(settings)
        self.splits: dict[str, Any]
        refuse_unused(settings, ("kind", "text_column"), "task vtab")
        self.images: Images | None = None
        if settings.data in (UPRIGHT, SHIFTED):
            refuse_unused(settings, ("label_column",), f"the miniature's data, {settings.data}")
            self.splits = digits(shifted=settings.data == SHIFTED)
            self.classes = [str(digit) for digit in range(10)]
        else:
            self.images = self._own_images(settings)
            self.splits, self.classes = self.images.splits, self.images.classes
        self.chance = 1 / len(self.classes)

    def _own_images(self, settings: TaskSettings) -> Images:
        if is_shipped(settings.model):
            raise UsageError(
                f"task.model={settings.model}: it knows grey digits of 8x8 pixels, not "
                f"task.data={settings.data}; give task.model=PATH, a ViT with its image processor"
            )
        images = load_images(settings.data, self.path, settings.label_column)
        made = images.splits["train"][0]["pixel_values"]
        config = load_config(self.path)
        size = getattr(config, "image_size", made.shape[1:])
        height, width = (size, size) if isinstance(size, int) else size
        wanted = (getattr(config, "num_channels", len(made)), height, width)
        if tuple(made.shape) != wanted:
            given, takes = ("x".join(map(str, shape)) for shape in (made.shape, wanted))
            raise UsageError(
                f"task.model={self.path}: its image processor makes {given}, the model takes {takes}"
            )
        return images

    def model(self) -> nn.Module:
        return load_pretrained(
            AutoModelForImageClassification,
            self.path,
            new_modules=self.head_modules if self.settings.trains_head else [],
            num_labels=len(self.classes),
        )

    def size(self, split: str) -> int:
        part = self.splits[split]
        return len(part["labels"]) if isinstance(part, dict) else len(part)

    def training_classes(self) -> Tensor:
        return torch.as_tensor(self.images.labels["train"] if self.images else self.splits["train"]["labels"])

    def data_summary(self) -> DataSummary:
        counts = self.training_classes().bincount(minlength=len(self.classes)).tolist()
        return replace(
            super().data_summary(),
            kind="classification",
            columns=self.images.columns if self.images else (),
            classes=dict(zip(self.classes, counts, strict=True)),
            notes=self.images.notes if self.images else (),
        )

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
