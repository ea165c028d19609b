"""The paper's scale, by the same code: files in small, the full shape on the meta device."""

from __future__ import annotations

import math
import shutil
import sys
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
from study.planning.profile import Footprint
from study.planning.runs import plan_runs
from study.tasks.diffusion.controlled_unet import ControlledUNet, paper_encoder
from study.tasks.diffusion.scenes import UNLABELLED
from study.tasks.loading.pretrained import skeletons
from study.tasks.s2i import S2i
from study.testing import task_contract
from study.training.adaptation import peft_config
from study.training.inspection import parameter_count
from study.training.memory import estimate
from study.training.passes import base_model

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
        return ControlledUNet(unet, CLIPTextModel(CLIPTextConfig()), paper_encoder(8)).requires_grad_(False)


def test_the_encoder_is_that_of_the_paper(sd_15: ControlledUNet) -> None:
    assert sum(p.numel() for p in sd_15.control_encoder.parameters()) == 1_086_480
    with_weights = {name for name, module in sd_15.named_modules() if list(module.parameters(recurse=False))}
    assert {name for name in with_weights if name.startswith("control_encoder")} == set(
        paper_encoder(8).layers
    )


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


def test_memory_is_counted_of_all_that_a_gpu_must_hold(paper_arguments: list[str]) -> None:
    """From shapes alone: UNet and text encoder in half precision, VAE and segmenter in full; a larger batch
    takes more, more sampling steps do not."""

    def counted(*more: str) -> Footprint:
        run = plan_runs(config.load("lr_grid", [*paper_arguments, "task.precision=bfloat16", *more]))[0]
        task = tasks.load(run.task)
        with skeletons():
            model = base_model(task, torch.device("meta"))
            return estimate(task, model, peft_config(run, task, model))

    one = counted()
    task = tasks.load(config.load("lr_grid", paper_arguments).task)
    base = sum(weight.numel() for weight in task.model().parameters())
    beside = sum(w.numel() for model in task.models_beside(torch.device("cpu")) for w in model.parameters())
    assert beside > 10_000 and one.weights_mb == pytest.approx((2 * base + 4 * beside) / 2**20, rel=0.01)
    assert one.run_mb is not None and counted("task.sampling_steps=30") == one
    larger = counted("task.batch_size=8", "task.eval_batch_size=8")
    assert larger.run_mb is not None and larger.run_mb > 1.1 * one.run_mb


@pytest.mark.parametrize("lacking", ["diffusers", "torchmetrics"])
def test_without_the_extra_it_is_said_what_to_install(lacking: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [
        each for each in sys.modules if each.startswith(("study.tasks.diffusion", "study.tasks.s2i"))
    ]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, lacking, None)
    with pytest.raises(UsageError, match=rf"^{lacking} is not installed, .*: pip install -e '\.\[images\]'$"):
        tasks.load(config.load("lr_grid", ["task=s2i"]).task)


@pytest.mark.slow
def test_a_study_from_start_to_end(
    study_command: Callable[..., CompletedProcess[str]],
    paper_arguments: list[str],
    files: Path,
    tmp_path: Path,
) -> None:
    """And its segmenter must stay what it was."""
    segmenter = Path(shutil.copytree(files / "segmenter", tmp_path / "segmenter"))
    grid = ["method=ether,oft", "lr=1e-3", "name=small", "report=false", f"task.segmenter={segmenter}"]
    arguments = [*paper_arguments, *grid]
    done = study_command("study.sweep", "lr_grid", *arguments, "seeds=1")
    assert done.returncode == 0, done.stdout + done.stderr
    runs = pd.read_parquet(tmp_path / "results/small/runs.parquet")
    assert len(runs) == 2 and set(runs.status) <= {"ok", "diverged"}
    assert runs["metric.real_mean_iou"].between(0, 1).all()
    assert all(math.isfinite(value) for value in runs.test)
    assert len(list((tmp_path / "results/small/samples").glob("*.png"))) == 2
    assert set(runs.judge_fingerprints.str[:17]) == {"segmenter sha256:"}

    weights = segmenter / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    for more in ([], ["dry_run=true"]):
        refused = study_command("study.sweep", "lr_grid", *arguments, "seeds=2", *more)
        assert refused.returncode == 2 and len(refused.stderr.strip().splitlines()) == 1
        assert f"task.segmenter={segmenter} has changed: 2 finished runs are of what it was" in refused.stderr
