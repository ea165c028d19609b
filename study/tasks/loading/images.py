"""Images with class labels as splits of rows: an image folder or a `datasets` data set."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from transformers import AutoImageProcessor

from study.errors import UsageError, first_line, nearest
from study.tasks.loading.image_folder import list_folder
from study.tasks.loading.pictures import open_picture
from study.tasks.loading.sources import local_path, splits_of_hub
from study.tasks.loading.splits import HELD_OUT, check_train, three_splits
from study.tasks.loading.text import split_notes

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Images:
    """What was read.

    Attributes:
        splits: rows by `train`, `valid`, `test`; of each `pixel_values`, (channels, height, width), `labels`.
        labels: the classes' numbers by split.
        classes: names of the classes 0, 1, ...
        columns: what was read from which column, in words.
        notes: what was decided by rule.
    """

    splits: dict[str, Dataset]
    labels: dict[str, list[int]]
    classes: list[str]
    columns: tuple[str, ...]
    notes: tuple[str, ...]


def load_images(source: str, model: str, label_column: str | None = None) -> Images:
    """Splits of an image folder or a `datasets` data set.

    A data set without validation or test gives up 10 % of its training images for each, with the same share
    of each class.

    Args:
        source: a local folder, or a data set's hub name.
        model: hub name or local path of the model whose processor prepares the images.
        label_column: of a data set; None for the first that holds classes.

    Raises:
        UsageError: if there is no such data set, it has no image or no label column, or too few images, or
            one that cannot be read.
    """
    parts, image, label, notes = _parts(source, label_column)
    splits = three_splits(
        parts,
        given_as={"valid": "validation", "test": "test"},
        held_out=lambda rows: math.ceil(HELD_OUT * rows),
        stratify_by=label,
    )
    labels = {split: rows[label][:] for split, rows in splits.items()}
    for split, given in labels.items():
        if missing := sum(each is None or each < 0 for each in given):
            raise UsageError(
                f"task.data={source}: {missing} of {len(given)} pictures of {split} have no {label}"
            )
    try:
        processor = AutoImageProcessor.from_pretrained(model)
    except Exception as error:
        raise UsageError(
            f"task.model={model}: pictures of your own need a model with its image processor"
            f" (preprocessor_config.json): {first_line(error)[:80]}"
        ) from None

    def prepare(rows: dict[str, list[Any]]) -> dict[str, Any]:
        pictures = [open_picture(cell, f"in {image}") for cell in rows[image]]
        pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        return {"pixel_values": list(pixels), "labels": rows[label]}

    return Images(
        splits={split: rows.with_transform(prepare) for split, rows in splits.items()},
        labels=labels,
        classes=parts["train"].features[label].names,
        columns=(f"image: {image}", f"label: {label}"),
        notes=(*notes, *split_notes(parts, splits)),
    )


def _parts(source: str, label_column: str | None) -> tuple[dict[str, Dataset], str, str, list[str]]:
    """The data set's own splits, its columns of images and labels, and notes."""
    from datasets import ClassLabel, Image

    path = local_path("task.data", source)
    if path is not None and not path.is_dir():
        raise UsageError(f"task.data={source}: a file; pictures are read from a folder, train/CLASS/*.png")
    if path is not None:
        if label_column:
            raise UsageError(f"task.label_column={label_column} reaches nothing: folders are the classes")
        parts, notes = list_folder(source)
        return parts, "image", "label", notes
    parts = splits_of_hub(source)
    check_train(source, parts)
    features = parts["train"].features
    images = [k for k, v in features.items() if isinstance(v, Image)]
    labels = [k for k, v in features.items() if isinstance(v, ClassLabel)]
    if not images or not labels:
        raise UsageError(f"task.data={source} needs an image and a class-label column, has {list(features)}")
    if label_column and label_column not in labels:
        raise UsageError(f"task.label_column={label_column}: no such column; {nearest(label_column, labels)}")
    label = label_column or labels[0]
    others = [name for name in labels if name != label]
    notes = [f"label {label} of {', '.join(labels)}; task.label_column={others[0]}"] if others else []
    undecoded = {split: rows.cast_column(images[0], Image(decode=False)) for split, rows in parts.items()}
    return undecoded, images[0], label, notes
