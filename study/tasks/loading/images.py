"""Images with class labels as splits of rows: an image folder or a `datasets` data set."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import AutoImageProcessor

from study.errors import UsageError, first_line
from study.tasks.loading.splits import HELD_OUT, three_splits

if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


def load_images(source: str, model: str) -> tuple[dict[str, Dataset], list[str]]:
    """Splits of an image folder or a `datasets` data set, and the names of its classes.

    A data set without validation or test gives up 10 % of its training images for each, with the same share
    of each class.

    Args:
        source: a local folder, or a data set's hub name.
        model: hub name or local path of the model whose processor prepares the images.

    Raises:
        UsageError: if there is no such data set, it has no image or no label column, or too few images.
    """
    from datasets import ClassLabel, Image

    parts = _load(source)
    features = parts["train"].features
    image = next((k for k, v in features.items() if isinstance(v, Image)), None)
    label = next((k for k, v in features.items() if isinstance(v, ClassLabel)), None)
    if image is None or label is None:
        raise UsageError(f"task.data={source} needs an image and a class-label column, has {list(features)}")
    splits = three_splits(
        parts,
        given_as={"valid": "validation", "test": "test"},
        held_out=lambda rows: math.ceil(HELD_OUT * rows),
        stratify_by=label,
    )
    processor = AutoImageProcessor.from_pretrained(model)

    def prepare(rows: dict[str, list[Any]]) -> dict[str, Any]:
        pictures = [picture.convert("RGB") for picture in rows[image]]
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        return {"pixel_values": list(pixels), "labels": rows[label]}

    return {split: rows.with_transform(prepare) for split, rows in splits.items()}, features[label].names


def _load(source: str) -> DatasetDict:
    import datasets

    try:
        if Path(source).is_dir():
            return datasets.load_dataset("imagefolder", data_dir=source)
        return datasets.load_dataset(source)
    except Exception as error:
        raise UsageError(f"task.data={source}: {first_line(error)}") from None
