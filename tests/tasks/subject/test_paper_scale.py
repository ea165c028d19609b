"""The paper's scale, by the same code: files in small, the full shape on the meta device."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from PIL import Image
from support import tiny_subjects
from torch import nn
from transformers import CLIPModel, CLIPTextConfig, CLIPTextModel, ViTModel

from study import config, methods
from study.planning.runs import plan_runs
from study.tasks.diffusion.captioned_unet import CaptionedUNet
from study.tasks.loading.pretrained import skeletons
from study.tasks.subject import Subject
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


@pytest.fixture(scope="module")
def sd_15() -> CaptionedUNet:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**SD_15)
        return CaptionedUNet(unet, CLIPTextModel(CLIPTextConfig())).requires_grad_(False)


@pytest.mark.parametrize(
    ("method", "options", "printed"),
    [
        ("ether", {"blocks": 4}, 99_456),
        ("ether_plus", {"blocks": 4, "sides": 2}, 398_592),
        ("ether_plus", {"blocks": 4, "sides": 1}, 198_912),
        ("oft", {"blocks": 4}, 11_652_096),
        ("lora", {"r": 4}, 797_184),
    ],
)
def test_parameters_of_stable_diffusion_are_the_papers(
    sd_15: CaptionedUNet, method: str, options: dict[str, int], printed: int
) -> None:
    """Tables 2 and 11, with the target modules of the paper's sweep; OFT's is printed as 11.6M."""
    targets = config.load("subject_paper", []).task.target_modules
    adapted = [n for n, m in sd_15.named_modules() if any(n.endswith(f".{t}") for t in targets)]
    assert len(adapted) == 128 and all(isinstance(sd_15.get_submodule(n), nn.Linear) for n in adapted)
    count = parameter_count(sd_15, methods.config(method, options, targets))
    assert count == printed


@pytest.mark.parametrize("check", sorted(task_contract.CHECKS.keys() - {"splits"}))
def test_a_task_of_files_keeps_the_contract(paper: Subject, check: str) -> None:
    """But for one thing: there are no pictures of a subject but those that it is learnt from."""
    assert task_contract.CHECKS[check](paper) == ""


def test_prompts_and_captions_are_googles(paper: Subject) -> None:
    assert paper.data.names == ["cap", "cat2", "one"] and paper.data.nouns == ["hat", "cat", "hat"]
    rows = paper.rows("test", 1)
    cat = [paper.examples_of["test"][row] for row in rows.tolist()]
    assert [each.prompt for each in cat] == [
        *["a qwe cat with a red hat", "a green qwe cat"] * 4, "a cat with a red hat", "a green cat",
    ]  # fmt: skip
    assert {each.caption for each in cat} == {"a photo of qwe cat", "a photo of cat"}
    hat = [paper.examples_of["valid"][row].prompt for row in paper.rows("valid", 3).tolist()]
    assert hat == ["a qwe hat on a blue background", "a red qwe hat", "a hat on a blue background"]


def test_half_of_a_batch_is_of_the_seeds_subject_and_half_of_its_class(paper: Subject) -> None:
    for seed in range(4):
        seen = set()
        for step in range(4):
            numbers = paper.batch(seed, step)["number"].tolist()
            own, alone = (paper.examples_of["train"][number] for number in numbers)
            assert own.subject == seed % 3 and not own.sampled
            assert alone.subject is None and alone.sampled and alone.noun == own.noun
            seen.add(own.picture)
        assert seen == set(paper.data.trained_on[seed % 3])


@torch.no_grad()
def test_scores_are_similarities_of_the_judges_features(paper: Subject, files: Path) -> None:
    """Recomputed with transformers' own processors, of a real picture beside a prompt of another subject."""
    from transformers import AutoTokenizer, CLIPImageProcessorPil, ViTImageProcessorPil

    square = paper.data.pictures([0, 1, 2, 3])
    seen = [Image.fromarray(((p.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()) for p in square]
    vit, clip = ViTModel.from_pretrained(files / "dino", add_pooling_layer=False), None
    pixels = ViTImageProcessorPil.from_pretrained(files / "dino")(seen, return_tensors="pt").pixel_values
    dino = F.normalize(vit(pixels).last_hidden_state[:, 0], dim=1)
    clip = CLIPModel.from_pretrained(files / "clip")
    pixels = CLIPImageProcessorPil.from_pretrained(files / "clip")(seen, return_tensors="pt").pixel_values
    images = F.normalize(clip.visual_projection(clip.vision_model(pixels).pooler_output), dim=1)
    tokenizer = AutoTokenizer.from_pretrained(files / "clip")
    tokens = tokenizer(["a hat on a blue background"], return_tensors="pt")
    text = F.normalize(clip.text_projection(clip.text_model(**tokens).pooler_output), dim=1)

    number = paper.size("train") + paper.size("valid") + int(paper.rows("test", 0)[0])
    judged = paper.judge.judge(square[3:], torch.tensor([number]))  # a cat, as if it were the cap
    close = {"abs": 0.02}  # Pillow scales in whole numbers
    assert judged.subject.item() == pytest.approx((dino[3] @ dino[:3].T).mean().item(), **close)
    assert judged.further[0, 0].item() == pytest.approx((images[3] @ images[:3].T).mean().item(), **close)
    assert judged.prompt.item() == pytest.approx((images[3] @ text[0]).item(), **close)
    itself = paper.judge.judge(square[:1], torch.tensor([number]), torch.tensor([0]))
    assert itself.subject.item() == pytest.approx((dino[0] @ dino[1:3].T).mean().item(), **close)


def test_memory_is_counted_of_all_that_a_gpu_must_hold(paper_arguments: list[str], paper: Subject) -> None:
    run = plan_runs(config.load("lr_grid", paper_arguments))[0]
    with skeletons():
        model = base_model(paper, torch.device("meta"))
        counted = estimate(paper, model, peft_config(run, paper, model))
    base = sum(weight.numel() for weight in paper.model().parameters())
    beside = sum(w.numel() for model in paper.models_beside(torch.device("cpu")) for w in model.parameters())
    assert beside > 10_000
    assert counted.weights_mb == pytest.approx(4 * (base + beside) / 2**20, rel=0.01)


def test_lpips_is_torchmetrics_with_the_named_weights(
    paper: Subject, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchvision, which builds AlexNet, is no dependency of the tests: its layers stand in here."""
    from torchmetrics.functional.image import lpips as theirs

    from study.tasks.diffusion.subjects import image_judge

    def alexnet(net: str, pretrained: bool = False) -> nn.Sequential:
        assert net == "alexnet" and not pretrained
        torch.manual_seed(4)
        widths = {0: (3, 64, 11, 4, 2), 3: (64, 192, 5, 1, 2), 6: (192, 384, 3, 1, 1),
                  8: (384, 256, 3, 1, 1), 10: (256, 256, 3, 1, 1)}  # fmt: skip
        layers: list[nn.Module] = []
        for number in range(13):
            pool = number in (2, 5, 12)
            a, b, kernel, stride, padding = widths.get(number, (0, 0, 0, 0, 0))
            conv = nn.Conv2d(a, b, kernel, stride, padding) if number in widths else nn.ReLU()
            layers.append(nn.MaxPool2d(3, 2) if pool else conv)
        return nn.Sequential(*layers)

    monkeypatch.setattr(theirs, "_get_tv_model_features", alexnet)
    weights = {f"features.{n}": v * 1.5 for n, v in alexnet("alexnet").state_dict().items()}
    torch.save(weights, tmp_path / "alexnet.pth")
    network = image_judge._lpips(str(tmp_path / "alexnet.pth"))
    assert torch.equal(network.net.slice1[0].weight, weights["features.0.weight"])
    pictures = torch.rand(2, 3, 64, 64) * 2 - 1
    assert network(pictures[:1], pictures[:1]).item() == 0 and network(pictures[:1], pictures[1:]).item() > 0


@pytest.mark.slow
def test_a_study_from_start_to_end(
    study_command: Callable[..., CompletedProcess[str]], paper_arguments: list[str], tmp_path: Path
) -> None:
    grid = ["method=ether,oft", "lr=1e-3", "name=small", "report=false", "seeds=3", "pack_size=3"]
    done = study_command("study.sweep", "lr_grid", *paper_arguments, *grid)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one picture alone" in done.stdout and "subjects without a folder, left out: gone" in done.stdout
    runs = pd.read_parquet(tmp_path / "results/small/runs.parquet")
    assert len(runs) == 6 and set(runs.status) <= {"ok", "diverged"}
    assert all(math.isfinite(value) for value in runs.test)
    assert runs.groupby("seed").base_test.nunique().max() == 1 and runs.base_test.nunique() == 3
    assert len(list((tmp_path / "results/small/samples").glob("*.png"))) == 6
    fingerprints = runs.judge_fingerprints.iloc[-1]
    assert all(f"{judge} sha256:" in fingerprints for judge in ("dino", "clip_model"))
    assert "class_pictures " in fingerprints
    assert tiny_subjects.PICTURES["one"] == 1
