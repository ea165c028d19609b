"""Task `vtab`: the digits, and any ViT on any image folder."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from study import config, tasks
from study.errors import UsageError
from study.settings import TaskSettings
from study.tasks import SPLITS
from study.tasks.miniature.digits import SHIFTED, digits
from study.tasks.vtab import Vtab
from study.training.passes import evaluate


def test_shifted_digits_are_turned_and_inverted() -> None:
    upright, shifted = digits(shifted=False), digits(shifted=True)
    for split in SPLITS:
        assert torch.equal(upright[split]["labels"], shifted[split]["labels"])
        back = -shifted[split]["pixel_values"].rot90(-1, dims=(2, 3))
        assert torch.equal(back, upright[split]["pixel_values"])
    assert sum(len(part["labels"]) for part in upright.values()) == 1797


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A small image folder, and a ViT without a head for it with its image processor."""
    from PIL import Image

    data = tmp_path_factory.mktemp("pictures")
    generator = torch.Generator().manual_seed(0)
    for split, count in (("train", 12), ("test", 4)):
        for label, shade in (("dark", 40), ("light", 200)):
            folder = data / split / label
            folder.mkdir(parents=True)
            for i in range(count):
                noise = torch.randint(0, 40, (20, 20, 3), generator=generator) + shade
                Image.fromarray(noise.to(torch.uint8).numpy()).save(folder / f"{i}.png")
    model = tmp_path_factory.mktemp("vit")
    torch.manual_seed(0)
    small = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        image_size=16, patch_size=8, num_labels=5,
    )  # fmt: skip
    ViTForImageClassification(small).save_pretrained(model)
    ViTImageProcessor(size={"height": 16, "width": 16}).save_pretrained(model)
    return data, model


def test_the_paper_scale_code_on_a_local_model_and_image_folder(
    pictures: tuple[Path, Path],
) -> None:
    data, model = pictures
    settings = config.load(
        "lr_grid", ["scale=paper", f"task.model={model}", f"task.data={data}", "task.batch_size=4"]
    ).task
    task = tasks.load(settings)
    assert task.chance == 0.5 and task.size("test") == 8 and task.size("valid") + task.size("train") == 24
    base = task.model()
    assert base.classifier.out_features == 2  # five classes in the checkpoint: a new head
    scores, losses = evaluate(task, base, "test")
    assert 0 <= scores[0] <= 1 and math.isfinite(losses[0])
    batch = task.batch(0, 0)
    assert batch["pixel_values"].shape == (4, 3, 16, 16)


def test_checkpoints_that_are_not_whole_are_refused(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    _, model = pictures
    settings = TaskSettings(name="vtab", model=str(tmp_path), data=SHIFTED, steps=1, batch_size=2)
    with pytest.raises(UsageError, match=r"no config\.json"):
        tasks.load(settings).model()
    for file in model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    gone = next(name for name in weights if "intermediate" in name and "weight" in name)
    del weights[gone]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    settings.head_lr = 1e-3
    with pytest.raises(UsageError, match=r"1 weights are missing"):
        tasks.load(settings).model()
    settings.head_lr, settings.model = None, str(model)
    with pytest.raises(UsageError, match="of another shape, such as classifier"):
        tasks.load(settings).model()
    with pytest.raises(UsageError, match="task.data=./nothing"):
        tasks.load(TaskSettings(name="vtab", model=str(model), data="./nothing", steps=1, batch_size=2))


def own(pictures: tuple[Path, Path], *overrides: str) -> Vtab:
    data, model = pictures
    task = tasks.load(config.load("lr_grid", [f"task.model={model}", f"task.data={data}", *overrides]).task)
    assert isinstance(task, Vtab)
    return task


def test_own_pictures_need_no_scale(pictures: tuple[Path, Path]) -> None:
    task = own(pictures)
    assert task.model().classifier.out_features == 2
    summary = task.data_summary()
    assert summary.rows == {"train": 21, "valid": 3, "test": 8} and summary.kind == "classification"
    assert summary.classes == {"dark": 11, "light": 10} or summary.classes == {"dark": 10, "light": 11}
    assert summary.columns == ("image: image", "label: label")
    assert summary.notes == ("validation: 3 rows held out of training",)


def test_own_pictures_are_refused_where_they_would_not_fit(
    pictures: tuple[Path, Path], tmp_path: Path
) -> None:
    _, model = pictures
    for overrides, message in (
        (
            ["task.model=shipped"],
            "it knows grey digits of 8x8 pixels, not task.data=.*; give task.model=PATH",
        ),
        (["task.label_column=label"], "task.label_column=label reaches nothing: folders are the classes"),
        (["task.kind=regression"], "task.kind=regression reaches no run: task vtab"),
        ([f"task.data={model / 'config.json'}"], "a file; pictures are read from a folder"),
        (["task.data=./photo"], "task.data=./photo: no such folder"),
    ):
        with pytest.raises(UsageError, match=message):
            own(pictures, *overrides)
    for file in model.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    with pytest.raises(UsageError, match="its image processor makes 3x32x32, the model takes 3x16x16"):
        own(pictures, f"task.model={tmp_path}")
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(UsageError, match="need a model with its image processor") as raised:
        own(pictures, f"task.model={tmp_path}")
    assert "\n" not in str(raised.value)


def test_the_head_of_another_data_set_is_said_to_need_training(pictures: tuple[Path, Path]) -> None:
    with pytest.raises(
        UsageError, match="of another shape, such as classifier.*task.head_lr=1e-3 trains a new"
    ):
        own(pictures, "task.head_lr=null").model()


def test_sixteen_bits_are_seen_as_eight(pictures: tuple[Path, Path], tmp_path: Path) -> None:
    import numpy as np
    from PIL import Image

    for bits, scale in ((np.uint8, 1), (np.uint16, 257)):
        for label, shade in (("dark", 40), ("light", 200)):
            folder = tmp_path / bits.__name__ / "train" / label
            folder.mkdir(parents=True)
            for i in range(12):
                values = np.full((20, 20), (shade + i) * scale, dtype=bits)
                Image.fromarray(values).save(folder / f"{i}.png")
    read = [
        own(pictures, f"task.data={tmp_path / bits}").examples("train", torch.arange(18))["pixel_values"]
        for bits in ("uint8", "uint16")
    ]
    assert torch.equal(*read) and read[0].std() > 0.3


def test_a_label_column_of_several(pictures: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import ClassLabel, Dataset, Features, Image

    features = Features(
        {"img": Image(), "fine": ClassLabel(names=list("abcd")), "coarse": ClassLabel(names=["x", "y"])}
    )
    path = str(next((pictures[0] / "train" / "dark").iterdir()))
    rows = Dataset.from_dict(
        {"img": [path] * 40, "fine": [i % 4 for i in range(40)], "coarse": [i % 2 for i in range(40)]},
        features=features,
    )
    monkeypatch.setattr("datasets.load_dataset", lambda source: {"train": rows})
    task = own(pictures, "task.data=some/photos")
    assert task.classes == list("abcd")
    assert "label fine of fine, coarse; task.label_column=coarse" in task.data_summary().notes
    task = own(pictures, "task.data=some/photos", "task.label_column=coarse")
    assert task.classes == ["x", "y"] and task.examples("test", torch.arange(2))["pixel_values"].shape[0] == 2
    with pytest.raises(UsageError, match="task.label_column=corse: no such column; nearest: coarse"):
        own(pictures, "task.data=some/photos", "task.label_column=corse")
