"""What is wrong with a pipeline, a segmenter or data is said in one line, before any work starts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from support import tiny_diffusion

from study import config, tasks
from study.errors import UsageError
from study.tasks.s2i import S2i

TRAINING = "data/images/training"

BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a map of another size": (
        lambda root: Image.new("L", (8, 9)).save(a_map(root)),
        r"training_3\.png is 8x9, its picture 40x36",
    ),
    "a class that is not known": (
        lambda root: Image.new("L", (40, 36), 6).save(a_map(root)),
        r"training_3\.png has class 6; the segmenter knows 1 to 5",
    ),
    "a map in colour": (
        lambda root: Image.new("RGB", (40, 36)).save(a_map(root)),
        r"training_3\.png is in colour \(RGB\)",
    ),
    "a map that is missing": (
        lambda root: (a_map(root)).unlink(),
        r"training_3\.jpg has no map .*training_3\.png",
    ),
    "a map that is damaged": (
        lambda root: (a_map(root)).write_bytes(b"\x89PNG"),
        r"training_3\.png cannot be read",
    ),
    "a picture that is damaged": (
        lambda root: (root / "data/images/training/training_3.jpg").write_bytes(b"no picture"),
        r"training_3\.jpg cannot be read",
    ),
    "a caption that is missing": (
        lambda root: (root / "data/captions.json").write_text(json.dumps({"training_0": "a person"})),
        r"captions\.json has no caption for .*training_1\.jpg",
    ),
    "captions that are no JSON": (
        lambda root: (root / "data/captions.json").write_text("{"),
        r"captions\.json cannot be read",
    ),
    "no annotations": (lambda root: shutil.rmtree(root / "data/annotations"), r"no folder .*annotations"),
    "a pipeline without a text encoder": (
        lambda root: change(root / "pipeline/model_index.json", text_encoder=[None, None]),
        r"model_index\.json has no text_encoder",
    ),
    "a text encoder without its files": (
        lambda root: shutil.rmtree(root / "pipeline/text_encoder"), r"pipeline/text_encoder cannot be loaded",
    ),
    "another prediction type": (
        lambda root: change(root / "pipeline/scheduler/scheduler_config.json", prediction_type="sample"),
        r"scheduler_config\.json has prediction_type=sample; known: epsilon, v_prediction",
    ),
    "a flow": (
        lambda root: change(
            root / "pipeline/scheduler/scheduler_config.json", _class_name="FlowMatchEulerDiscreteScheduler"
        ),
        r"scheduler_config\.json is a FlowMatchEulerDiscreteScheduler",
    ),
    "no pipeline": (
        lambda root: (root / "pipeline/model_index.json").unlink(), r"no model_index\.json",
    ),
    "maps without a class": (lambda root: all_maps(root, 0), r"no pixel of the test maps has a class"),
    "a map of negative numbers": (
        lambda root: Image.fromarray(np.full((36, 40), -3, np.int32)).save(a_map(root), format="TIFF"),
        r"training_3\.png has class -3",
    ),
    "an empty folder": (
        lambda root: (shutil.rmtree(root / "data"), make(root / "data")), r"no folder .*images",
    ),
    "no pictures": (
        lambda root: [path.unlink() for path in (root / TRAINING).iterdir()],
        r"images/training holds no picture",
    ),
    "pictures in folders": (
        lambda root: shutil.move(root / TRAINING / "training_3.jpg", make(root / TRAINING / "a")),
        r"images/training/a is a folder; pictures lie in .*images/training itself",
    ),
    "an unknown split": (
        lambda root: (root / "data/images/more").mkdir(), r"images/more is no split; known: train, training",
    ),
    "a split twice": (
        lambda root: (root / "data/images/train").mkdir(), r"train.* and training/: keep one for train",
    ),
    "two pictures of one name": (
        lambda root: Image.new("RGB", (40, 36)).save(root / TRAINING / "training_3.png"),
        r"training_3\.png and another picture have one map .*training_3\.png",
    ),
    "a picture of a kind that cannot be read": (
        lambda root: (root / TRAINING / "x.heic").touch(), r"x\.heic cannot be read; save it as PNG or JPEG",
    ),
    "a grey picture without a scale": (
        lambda root: (
            Image.fromarray(np.full((36, 40), 7e5, np.float32)).save(root / TRAINING / "x.tiff"),
            shutil.copy(a_map(root), a_map(root).with_name("x.png")),
            describe(root, x="a person"),
        ),
        r"x\.tiff cannot be read: grey values",
    ),
    "no captions": (lambda root: (root / "data/captions.json").unlink(), r"captions\.json cannot be read: "),
    "captions as a list": (
        lambda root: (root / "data/captions.json").write_text("[]"),
        r'captions\.json is not \{"NAME": "caption"',
    ),
    "captions twice": (
        lambda root: (root / "data/captions.json").write_text('{"a": "x", "b": "y", "a": "z"}'),
        r"captions\.json has 'a' twice",
    ),
    "captions with and without the suffix": (
        lambda root: describe(root, **{"training_3.jpg": "something else"}),
        r"has 'training_3\.jpg' and 'training_3' with different captions",
    ),
    "an empty caption": (
        lambda root: describe(root, training_3="  "), r"captions\.json has no caption for .*training_3\.jpg",
    ),
    "a VAE of other channels": (
        lambda root: change(root / "pipeline/unet/config.json", in_channels=8, out_channels=8),
        r"its VAE gives 4 channels, its UNet takes 8",
    ),
    "a UNet that gives other channels than it takes": (
        lambda root: change(root / "pipeline/unet/config.json", out_channels=8),
        r"unet/config\.json takes 4 channels and gives 8",
    ),
    "a UNet of no size": (
        lambda root: change(root / "pipeline/unet/config.json", sample_size=None), r"has sample_size=None",
    ),
    "a UNet with classes": (
        lambda root: change(root / "pipeline/unet/config.json", num_class_embeds=10),
        r"unet/config\.json has num_class_embeds=10: it asks for more than a caption",
    ),
    "Stable Diffusion XL's UNet": (
        lambda root: change(root / "pipeline/unet/config.json", addition_embed_type="text_time"),
        r"addition_embed_type=text_time: it asks for more than a caption",
    ),
    "a UNet for a wider text encoder": (
        lambda root: change(root / "pipeline/unet/config.json", cross_attention_dim=64),
        r"its text encoder is 32 wide, its UNet takes 64",
    ),
    "a tokenizer of another vocabulary": (
        lambda root: change(root / "pipeline/text_encoder/config.json", vocab_size=20),
        r"its tokenizer has \d+ tokens, its text encoder knows 20",
    ),
    "a tokenizer of longer texts": (
        lambda root: change(root / "pipeline/tokenizer/tokenizer_config.json", model_max_length=1000),
        r"its tokenizer has model_max_length=1000, its text encoder takes 40",
    ),
    "a text encoder of another kind": (
        lambda root: change(root / "pipeline/model_index.json", text_encoder=["t", "T5EncoderModel"]),
        r"its text_encoder is a T5EncoderModel; the task takes a CLIPTextModel",
    ),
    "a UNet that lacks weights": (
        lambda root: lose_a_weight(root / "pipeline/unet/diffusion_pytorch_model.safetensors"),
        r"1 weights of its unet are missing, such as ",
    ),
    "a text encoder that lacks weights": (
        lambda root: lose_a_weight(root / "pipeline/text_encoder/model.safetensors"),
        r"1 weights of its text_encoder are missing, such as ",
    ),
    "a VAE that lacks weights": (
        lambda root: lose_a_weight(root / "pipeline/vae/diffusion_pytorch_model.safetensors"),
        r"1 weights of its vae are missing, such as ",
    ),
    "a segmenter that lacks weights": (
        lambda root: lose_a_weight(root / "segmenter/model.safetensors"),
        r"task\.segmenter=.*1 weights are missing",
    ),
    "a segmenter without its processor": (
        lambda root: (root / "segmenter/preprocessor_config.json").unlink(),
        r"task\.segmenter=.*its image processor cannot be loaded",
    ),
    "a segmenter that is none": (
        lambda root: shutil.copy(
            tasks.shipped_checkpoint("vtab") / "config.json", root / "segmenter/config.json"
        ),
        r"task\.segmenter=.* cannot be loaded",
    ),
    "no segmenter": (lambda root: shutil.rmtree(root / "segmenter"), r"task\.segmenter=.*: no such folder"),
}  # fmt: skip


def a_map(root: Path) -> Path:
    return root / "data/annotations/training/training_3.png"


def all_maps(root: Path, number: int) -> None:
    for path in (root / "data/annotations").rglob("*.png"):
        Image.new("L", (40, 36), number).save(path)


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def describe(root: Path, **captions: str) -> None:
    change(root / "data/captions.json", **captions)


def lose_a_weight(file: Path) -> None:
    weights = load_file(file)
    del weights[max(name for name in weights if weights[name].ndim > 1)]
    save_file(weights, file, metadata={"format": "pt"})


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_file_is_said_in_one_line(case: str, files: Path, tmp_path: Path) -> None:
    root = tmp_path / "files"
    shutil.copytree(files, root)
    break_it, words = BROKEN[case]
    break_it(root)
    with pytest.raises(UsageError, match=words) as refused:
        load(root).model()
    assert "\n" not in str(refused.value)


def load(root: Path, *more: str) -> S2i:
    overrides = [
        "task=s2i", "scale=paper", f"task.model={root / 'pipeline'}", f"task.data={root / 'data'}",
        f"task.segmenter={root / 'segmenter'}", *more,
    ]  # fmt: skip
    task = tasks.load(config.load("lr_grid", overrides).task)
    assert isinstance(task, S2i)
    return task


@pytest.mark.parametrize(
    "override, words",
    [
        ("task.guidance=0.5", r"task\.guidance=0\.5 must be 1 or more"),
        ("task.sampling_steps=0", r"task\.sampling_steps=0 must be positive"),
        ("task.sampling_steps=1001", r"task\.sampling_steps=1001: the model knows 1000 times at most"),
        ("task.precision=float16", r"task\.precision=float16 is not one of: float32, bfloat16"),
        ("task.segmenter=null", r"task\.segmenter: name one"),
        ("task.inception=./nowhere.pth", r"task\.inception=\./nowhere\.pth: no such file"),
    ],
)
def test_a_setting_that_cannot_work_is_named(override: str, words: str, files: Path) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        load(files, override)
    assert "\n" not in str(refused.value)


def test_pictures_of_any_kind_are_read_as_the_eye_sees_them(files: Path, tmp_path: Path) -> None:
    """Grey of 8 and 16 bits, transparent, turned by the camera: each as its plain RGB twin."""
    root = Path(shutil.copytree(files, tmp_path / "files"))
    folder = root / "data/images/validation"
    grey = np.random.default_rng(0).integers(0, 256, (36, 40), dtype=np.uint8)
    plain = Image.fromarray(grey).convert("RGB")
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90 degrees, clockwise
    alpha = plain.convert("RGBA")
    alpha.putalpha(255)
    made = {
        "grey.png": (Image.fromarray(grey), {}),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 257), {}),
        "alpha.png": (alpha, {}),
        "camera.png": (plain.rotate(90, expand=True), {"exif": turned}),
        "plain.png": (plain, {}),
    }
    for name, (picture, how) in made.items():
        picture.save(folder / name, **how)
        shutil.copy(a_map(root), (root / "data/annotations/validation" / name).with_suffix(".png"))
        describe(root, **{Path(name).stem: "a person"})
    scenes = load(root).splits["test"]
    found = scenes.pictures(range(5))  # the first by name: alpha, camera, deep, grey, plain
    assert all(torch.equal(picture, found[4]) for picture in found)


def test_what_is_passed_over_is_said(files: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(files, tmp_path / "files"))
    describe(root, nobody="a person")
    (root / TRAINING / "training_3.jpg").unlink()
    Image.new("RGB", (20, 18)).save(root / TRAINING / "training_4.jpg")
    Image.new("L", (20, 18)).save(a_map(root).with_name("training_4.png"))
    notes = "\n".join(load(root).notes)
    assert "maps without a picture, not read: annotations/training/training_3.png" in notes
    assert "captions without a picture, not read: nobody, training_3" in notes
    assert "1 pictures are smaller than 32x32 pixels, and are enlarged" in notes


def test_a_segmenter_that_takes_no_such_pictures_is_named(files: Path, tmp_path: Path) -> None:
    """Its patches are larger."""
    from transformers import BeitConfig, BeitForSemanticSegmentation, BeitImageProcessor

    small = BeitConfig(
        image_size=128, patch_size=64, hidden_size=16, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=16, out_indices=[1, 2, 3, 4], num_labels=tiny_diffusion.CLASSES,
        use_auxiliary_head=False, vocab_size=8,
    )  # fmt: skip
    BeitForSemanticSegmentation(small).save_pretrained(tmp_path)
    BeitImageProcessor(do_reduce_labels=True).save_pretrained(tmp_path)
    with pytest.raises(
        UsageError, match=r"task\.segmenter=.*: takes no pictures of 32x32 pixels: "
    ) as refused:
        load(files, f"task.segmenter={tmp_path}")
    assert "\n" not in str(refused.value)


def test_an_inception_that_is_broken_is_named(files: Path, tmp_path: Path) -> None:
    broken = tmp_path / "inception.pth"
    broken.write_bytes(b"no weights")
    with pytest.raises(UsageError, match=r"task\.inception.*(cannot be loaded|needs torch-fidelity)"):
        load(files, f"task.inception={broken}")
