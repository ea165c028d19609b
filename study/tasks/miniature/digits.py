"""The miniature of image classification: scikit-learn's handwritten digits, upright or turned and inverted.

1,797 real images of 8x8 pixels (UCI ML repository).
"""

from __future__ import annotations

import torch

from study.tasks import SPLITS, Batch

UPRIGHT, SHIFTED = "digits-upright", "digits"
"""Names of the two data sets: what the base model was pretrained on, and what it is adapted to."""


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
    split_rows = order.tensor_split([len(order) // 2, len(order) * 2 // 3])
    targets = torch.tensor(labels)
    return {
        split: {"pixel_values": pixels[rows].contiguous(), "labels": targets[rows]}
        for split, rows in zip(SPLITS, split_rows, strict=True)
    }
