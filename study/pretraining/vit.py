"""Pretrains the small ViT that task `vtab` adapts: on upright digits, which the task turns and inverts.

`--width 32 --out study/tasks/checkpoints/vtab-width32` makes the one that `task.model=shipped-width32` names.
Widths differ in nothing else: depth, patches, channels of a head, data, steps and rate are the same, and
weights begin smaller in a wider model, by the square root of its width. A narrow model knows less before it
is adapted, as quality.json says, so of several widths not the scores compare but where the best rates lie.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import ViTConfig, ViTForImageClassification

from study.errors import UsageError
from study.pretraining import script
from study.settings import TaskSettings
from study.tasks.miniature.digits import SHIFTED, UPRIGHT, digits
from study.tasks.vtab import Vtab

BATCH, STEPS = 64, 2800
"""Images of a batch; 200 passes over the training digits."""

WIDTH, HEAD = 64, 16
"""Channels of the shipped model, and of an attention head."""


def small_vit(width: int = WIDTH) -> ViTForImageClassification:
    """Three blocks on four patches of 4x4 pixels.

    Raises:
        UsageError: if the width cannot be cut into heads.
    """
    if width < HEAD or width % HEAD:
        raise UsageError(f"width={width} is not a multiple of {HEAD}, the channels of an attention head")
    return ViTForImageClassification(
        ViTConfig(  # type: ignore[call-arg]
            hidden_size=width,
            num_hidden_layers=3,
            num_attention_heads=width // HEAD,
            intermediate_size=4 * width,
            image_size=8,
            patch_size=4,
            num_channels=1,
            initializer_range=0.1 * (WIDTH / width) ** 0.5,
            num_labels=10,
            id2label={i: str(i) for i in range(10)},
            label2id={str(i): i for i in range(10)},
        )
    )


def pretrain(folder: Path, steps: int = STEPS, seed: int = 0, width: int = WIDTH) -> None:
    """Trains the model on the upright training digits, shifted by a pixel at random."""
    torch.manual_seed(seed)
    model = small_vit(width)
    train = digits(shifted=False)["train"]
    pixels, labels = train["pixel_values"], train["labels"]
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.05)
    schedule = script.one_cycle(optimizer, 2e-3, steps)
    for step in range(steps):
        rows = torch.randint(len(pixels), (BATCH,))
        shift = torch.randint(-1, 2, (2,)).tolist()  # a pixel to any side
        batch = pixels[rows].roll(shift, dims=(2, 3))
        loss = F.cross_entropy(model(batch).logits, labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        script.report(step, steps, f"{loss.item():.3f}", every=100)
    if width > WIDTH:
        model.half()  # so that it ships in a megabyte; it is loaded in float32
    model.save_pretrained(folder)


@torch.no_grad()
def quality(checkpoint: Path) -> dict[str, float]:
    """A checkpoint's accuracy on upright and on shifted digits, per held-out split."""
    accuracies = {}
    for data in (UPRIGHT, SHIFTED):
        task = Vtab(TaskSettings(name="vtab", model=str(checkpoint), data=data, steps=1, batch_size=16))
        model = task.model().eval()
        for split in ("valid", "test"):
            batch = task.examples(split, torch.arange(task.size(split)))
            predictions = task.predictions(task.forward(model, batch), batch)
            accuracies[f"{data} {split}"] = round(task.metrics(predictions, batch)["accuracy"], 4)
    return accuracies


if __name__ == "__main__":
    script.run(pretrain, quality, __doc__ or "", STEPS, WIDTH)
