"""Image classification with a ViT adapted to a shifted data set (the paper's appendix E, VTAB).

`mini`: scikit-learn's handwritten digits (1,797 real 8x8 images, UCI ML repository). A small ViT is
pretrained on the upright ones and adapted to the same kind of digits turned by 90 degrees and
inverted. Its checkpoint ships with the project; `python -m study.tasks.vtab` rebuilds it.
`paper`: any ViT by hub name or local path on any image folder or `datasets` data set.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    AutoImageProcessor,
    AutoModelForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from study.errors import UsageError, first_line
from study.settings import TaskSettings
from study.tasks import SPLITS, Batch, Task
from study.tasks.loading.pretrained import load_pretrained

CHECKPOINT = Path(__file__).parent / "checkpoints" / "vtab"
QUALITY = CHECKPOINT / "quality.json"
"""Accuracies of the shipped checkpoint, written by the command that built it."""

UPRIGHT, SHIFTED = "digits-upright", "digits"


def digits(shifted: bool) -> dict[str, Batch]:
    """Splits of the handwritten digits: pixel_values (rows, 1, 8, 8) in [-1, 1], labels (rows,).

    Half of the images train, a sixth validates, a third tests, by a fixed shuffle, so no image that the
    base model was pretrained on is ever in validation or test.
    """
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 8 - 1
    if shifted:
        pixels = -pixels.rot90(1, dims=(2, 3))
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    parts = order.tensor_split([len(order) // 2, len(order) * 2 // 3])
    targets = torch.tensor(labels)
    return {
        split: {"pixel_values": pixels[part].contiguous(), "labels": targets[part]}
        for split, part in zip(SPLITS, parts, strict=True)
    }


def image_dataset(source: str, model: str) -> tuple[dict[str, Any], list[str]]:
    """Splits of an image folder or a `datasets` data set, and the names of its classes.

    A data set without validation or test gives up 10 % of its training images for each.

    Raises:
        UsageError: if there is no such data set, or it has no image or no label column.
    """
    import datasets

    try:
        local = Path(source).is_dir()
        found = datasets.load_dataset("imagefolder", data_dir=source) if local else None
        found = found or datasets.load_dataset(source)
    except Exception as error:
        raise UsageError(f"task.data={source}: {first_line(error)}") from None
    features = found["train"].features
    image = next((k for k, v in features.items() if isinstance(v, datasets.Image)), None)
    label = next((k for k, v in features.items() if isinstance(v, datasets.ClassLabel)), None)
    if image is None or label is None:
        raise UsageError(f"task.data={source} needs an image and a class-label column, has {list(features)}")
    parts = {"train": found["train"]}
    for split, name in (("valid", "validation"), ("test", "test")):
        if name in found:
            parts[split] = found[name]
        else:
            cut = parts["train"].train_test_split(0.1, seed=0, stratify_by_column=label)
            parts["train"], parts[split] = cut["train"], cut["test"]
    processor = AutoImageProcessor.from_pretrained(model)

    def prepare(rows: dict[str, list[Any]]) -> dict[str, Any]:
        pictures = [picture.convert("RGB") for picture in rows[image]]
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        return {"pixel_values": list(pixels), "labels": rows[label]}

    return {split: part.with_transform(prepare) for split, part in parts.items()}, features[label].names


class Vtab(Task):
    metric = "accuracy"
    head_modules = ("classifier",)

    def __init__(self, settings: TaskSettings) -> None:
        super().__init__(settings)
        self.path = str(CHECKPOINT) if settings.model == "shipped" else settings.model
        self.splits: dict[str, Any]
        if settings.data in (UPRIGHT, SHIFTED):
            self.splits = digits(shifted=settings.data == SHIFTED)
            self.classes = [str(digit) for digit in range(10)]
        else:
            self.splits, self.classes = image_dataset(settings.data, self.path)
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


def pretrain(epochs: int = 200, seed: int = 0) -> None:
    """Rebuilds the shipped checkpoint: a ViT trained on the upright training digits."""
    torch.manual_seed(seed)
    model = ViTForImageClassification(
        ViTConfig(  # type: ignore[call-arg]
            hidden_size=64,
            num_hidden_layers=3,
            num_attention_heads=4,
            intermediate_size=256,
            image_size=8,
            patch_size=4,
            num_channels=1,
            initializer_range=0.1,
            num_labels=10,
            id2label={i: str(i) for i in range(10)},
            label2id={str(i): i for i in range(10)},
        )
    )
    splits = digits(shifted=False)
    pixels, labels = splits["train"]["pixel_values"], splits["train"]["labels"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    steps = epochs * (len(pixels) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for step in range(steps):
        rows = torch.randint(len(pixels), (64,))
        shift = torch.randint(-1, 2, (2,)).tolist()  # a pixel to any side
        batch = pixels[rows].roll(shift, dims=(2, 3))
        loss = F.cross_entropy(model(batch).logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step} of {steps}: loss {loss.item():.3f}", flush=True)
    model.save_pretrained(CHECKPOINT)
    QUALITY.write_text(json.dumps(quality(), indent=2) + "\n")
    print(QUALITY.read_text())


@torch.no_grad()
def quality() -> dict[str, float]:
    """Accuracy of the shipped checkpoint on upright and on shifted digits, per held-out split."""
    found = {}
    for data in (UPRIGHT, SHIFTED):
        task = Vtab(TaskSettings(name="vtab", model="shipped", data=data, steps=1, batch_size=16))
        model = task.model().eval()
        for split in ("valid", "test"):
            (batch,) = [task.examples(split, torch.arange(task.size(split)))]
            predictions = task.predictions(task.forward(model, batch), batch)
            found[f"{data} {split}"] = round(task.metrics(predictions, batch)["accuracy"], 4)
    return found


if __name__ == "__main__":
    pretrain()
