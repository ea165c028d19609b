"""The paper's scale, by the same code: files in small, the full shape on the meta device."""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel

from analysis.paper.accounting import architectures
from study import config, methods, tasks
from study.errors import UsageError
from study.tasks.diffusion.controlled_unet import ControlledUNet, encoder_layers
from study.tasks.diffusion.scenes import UNLABELLED
from study.tasks.s2i import S2i
from study.testing import task_contract
from study.training.inspection import parameter_count

SD_15 = {
    "sample_size": 64, "in_channels": 4, "out_channels": 4, "layers_per_block": 2, "cross_attention_dim": 768,
    "attention_head_dim": 8, "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
}  # fmt: skip
"""unet/config.json of Stable Diffusion 1.5."""

TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj"]


@pytest.fixture(scope="module")
def sd_15() -> ControlledUNet:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD_15)
        return ControlledUNet(unet, CLIPTextModel(CLIPTextConfig()), factor=8).requires_grad_(False)


def test_the_encoder_is_that_of_the_paper(sd_15: ControlledUNet) -> None:
    assert sum(p.numel() for p in sd_15.control_encoder.parameters()) == 1_086_480
    with_weights = {name for name, module in sd_15.named_modules() if list(module.parameters(recurse=False))}
    assert {name for name in with_weights if name.startswith("control_encoder")} == set(encoder_layers(8))


def test_the_paper_is_counted_from_the_same_shapes(sd_15: ControlledUNet) -> None:
    """`analysis.paper` counts without diffusers, from layers written out by hand."""

    def shapes(layers: Iterable[nn.Module]) -> Counter[tuple[int, ...]]:
        return Counter(tuple(layer.get_parameter("weight").shape) for layer in layers)

    adapted = [m for n, m in sd_15.named_modules() if any(n.endswith(f".{t}") for t in TARGETS)]
    by_hand = architectures.sd_1_5_attention().named_modules()
    assert shapes(adapted) == shapes(
        m for n, m in by_hand if isinstance(m, nn.Linear) and n.rpartition(".")[2] != "out"
    )
    encoder = [m for m in sd_15.control_encoder.modules() if isinstance(m, nn.Conv2d)]
    assert shapes(encoder) == shapes(architectures.control_encoder().children())


@pytest.mark.parametrize(
    ("method", "options", "printed"),
    [
        ("ether", {"blocks": 4}, 111_936),
        ("ether_plus", {"blocks": 4, "sides": 2}, 623_232),
        ("oft", {"blocks": 4}, None),
    ],
)
def test_parameters_of_stable_diffusion_are_the_papers(
    sd_15: ControlledUNet, method: str, options: dict[str, int], printed: int | None
) -> None:
    """OFT's Table 3 says 13.2M; ETHER+ is printed as .4M, which is that of attention alone on two sides."""
    adapted = [n for n, _ in sd_15.named_modules() if any(n.endswith(f".{t}") for t in TARGETS)]
    assert len(adapted) == 144
    count = parameter_count(sd_15, methods.config(method, options, TARGETS))
    if printed is None:
        assert count is not None and 13.1e6 < count < 13.25e6
    else:
        assert count == printed


def test_a_task_of_files_keeps_the_contract(paper_arguments: list[str]) -> None:
    task = tasks.load(config.load("lr_grid", paper_arguments).task)
    results = task_contract.run(task)
    assert all(result.ok for result in results), [(r.check, r.message) for r in results if not r.ok]


@pytest.fixture
def task(paper_arguments: list[str]) -> S2i:
    task = tasks.load(config.load("lr_grid", paper_arguments).task)
    assert isinstance(task, S2i)
    return task


def test_pictures_and_maps_are_cut_alike(task: S2i, files: Path) -> None:
    """A map of 40 x 36 becomes 32 x 32: scaled by 8/9, then the middle; 0 is no class, 1 the first."""
    assert {split: task.size(split) for split in ("train", "valid", "test")} == {
        "train": 11,
        "valid": 1,
        "test": 6,
    }
    scenes = task.splits["test"]
    assert scenes.pictures([0]).shape == (1, 3, 32, 32) and scenes.maps([0]).shape == (1, 32, 32)
    file = np.asarray(Image.open(files / "data/annotations/validation/validation_0.png"))
    kinds = set(np.unique(scenes.maps([0]).numpy())) - {UNLABELLED}
    assert kinds <= set(np.unique(file[file > 0] - 1))
    middle = int(file[18, 20])
    assert scenes.maps([0])[0, 16, 16] == (middle - 1 if middle else UNLABELLED)
    assert scenes.captions[0].endswith("0")


def test_every_picture_is_encoded_once(task: S2i, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    pictures = type(task.splits["train"]).pictures

    def counted(self: object, indices: list[int]) -> torch.Tensor:
        asked.extend(indices)
        return pictures(self, indices)  # type: ignore[arg-type]

    monkeypatch.setattr(type(task.splits["train"]), "pictures", counted)
    for step in range(20):
        task.batch(0, step)
    assert 0 < len(asked) == len(set(asked)) <= task.size("train")


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "a map of another size": (
        lambda root: Image.new("L", (8, 9)).save(root / "data/annotations/training/training_3.png"),
        r"training_3\.png is 8x9, its picture 40x36",
    ),
    "a class that is not known": (
        lambda root: Image.new("L", (40, 36), 6).save(root / "data/annotations/training/training_3.png"),
        r"training_3\.png has class 6; the segmenter knows 1 to 5",
    ),
    "a map in colour": (
        lambda root: Image.new("RGB", (40, 36)).save(root / "data/annotations/training/training_3.png"),
        r"training_3\.png is in colour \(RGB\)",
    ),
    "a map that is missing": (
        lambda root: (root / "data/annotations/training/training_3.png").unlink(),
        r"training_3\.jpg has no map .*training_3\.png",
    ),
    "a map that is damaged": (
        lambda root: (root / "data/annotations/training/training_3.png").write_bytes(b"\x89PNG"),
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
    "no segmenter": (lambda root: shutil.rmtree(root / "segmenter"), r"task\.segmenter=.* cannot be loaded"),
}  # fmt: skip


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize("case", BROKEN)
def test_what_is_wrong_with_a_file_is_said_in_one_line(case: str, files: Path, tmp_path: Path) -> None:
    root = tmp_path / "files"
    shutil.copytree(files, root)
    break_it, words = BROKEN[case]
    break_it(root)
    overrides = [
        "task=s2i", "scale=paper", f"task.model={root / 'pipeline'}", f"task.data={root / 'data'}",
        f"task.segmenter={root / 'segmenter'}",
    ]  # fmt: skip
    with pytest.raises(UsageError, match=words) as refused:
        tasks.load(config.load("lr_grid", overrides).task).model()
    assert "\n" not in str(refused.value)


@pytest.mark.slow
def test_a_study_from_start_to_end(
    study_command: Callable[..., CompletedProcess[str]], paper_arguments: list[str], tmp_path: Path
) -> None:
    grid = ["method=ether,oft", "lr=1e-3", "seeds=1", "name=small", "report=false"]
    done = study_command("study.sweep", "lr_grid", *paper_arguments, *grid)
    assert done.returncode == 0, done.stdout + done.stderr
    runs = pd.read_parquet(tmp_path / "results/small/runs.parquet")
    assert len(runs) == 2 and set(runs.status) <= {"ok", "diverged"}
    assert runs["metric.real_mean_iou"].between(0, 1).all()
    assert all(math.isfinite(value) for value in runs.test)
    assert len(list((tmp_path / "results/small/samples").glob("*.png"))) == 2
