"""The base model of the portraits and its judges: how they are pretrained, and how good what ships is."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy
import torch
import torch.nn.functional as F

pytest.importorskip("diffusers", reason="needs the extra [images]")
pytest.importorskip("torchmetrics", reason="needs the extra [images]")

from diffusers import DiffusionPipeline, UNet2DConditionModel
from transformers import AutoTokenizer

from study.pretraining.portraits import base, judges, quality
from study.pretraining.script import QUALITY
from study.tasks import shipped_checkpoint
from study.tasks.miniature.portraits import HIDDEN, LOOKS, PARTS, captions, portraits
from study.tasks.miniature.portraits.networks import CLASSES, AttributeNetwork, Segmenter, right, targets
from study.tasks.miniature.portraits.pipeline import PortraitPipeline


def test_a_few_steps_leave_all_that_ships(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And the same twice."""
    monkeypatch.setattr(quality, "SAMPLES", 48)
    shipped = shipped_checkpoint("portraits")
    weights = []
    for name in ("once", "twice"):
        folder = tmp_path / name
        arguments = ["portraits/__main__.py", "--out", str(folder), "--steps", "2"]
        monkeypatch.setattr(sys, "argv", arguments)
        runpy.run_module("study.pretraining.portraits", run_name="__main__")
        printed = capsys.readouterr().out
        assert len(re.findall(r"^step 0 of \d+: loss \d", printed, re.M)) == 4
        measured = json.loads((folder / QUALITY).read_text())
        assert measured.keys() == json.loads((shipped / QUALITY).read_text()).keys()
        files = {file.relative_to(folder) for file in folder.rglob("*") if file.is_file()}
        assert files == {file.relative_to(shipped) for file in shipped.rglob("*") if file.is_file()}
        weights.append([file.read_bytes() for file in sorted(folder.rglob("*.safetensors"))])
    assert weights[0] == weights[1] and len(weights[0]) == 5


def test_what_ships_is_a_pipeline_of_standard_parts() -> None:
    checkpoint = shipped_checkpoint("portraits")
    assert sum(file.stat().st_size for file in checkpoint.rglob("*") if file.is_file()) < 6_000_000
    pipeline = PortraitPipeline.from_pretrained(checkpoint)
    assert isinstance(pipeline, DiffusionPipeline)
    unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet", dtype=torch.float32)
    for mine, theirs in zip(pipeline.unet.parameters(), unet.parameters(), strict=True):
        assert torch.equal(mine.float(), theirs)
    assert (unet.config.in_channels, unet.config.sample_size) == (12, 8)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint / "tokenizer")
    assert tokenizer.get_vocab() == base.new_tokenizer().get_vocab()
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    for file in checkpoint.rglob("*.json"):
        assert not re.search(r"/(tmp|work|root|home)/", file.read_text()), file


def test_every_word_is_a_token() -> None:
    tokenizer = base.new_tokenizer()
    sentences = [
        *portraits(0, 2000, pool="all").captions,
        *(f"a photo of {word} person" for word in base.RARE),
    ]
    ids = tokenizer(sentences).input_ids
    assert max(map(len, ids)) < tokenizer.model_max_length
    assert not any(tokenizer.unk_token_id in row for row in ids)
    used = {token for row in ids for token in row}
    assert used >= set(tokenizer.convert_tokens_to_ids(captions.words()))
    assert tokenizer("A photo of qwe person, smiling").input_ids == tokenizer.convert_tokens_to_ids(
        ["<start>", "a", "photo", "of", "qwe", "person", ",", "smiling", "<end>"]
    )
    assert tokenizer("a zebra").input_ids[2] == tokenizer.unk_token_id


def test_captions_of_pretraining_are_empty_whole_or_partial() -> None:
    drawn = portraits(0, 3000)
    found = base.pretraining_captions(drawn.looks, np.random.default_rng(0))
    bare = [text.removeprefix("a photo of ") for text in found]
    kinds = Counter(
        "none" if not text else "whole" if text == whole else "partial"
        for text, whole in zip(bare, drawn.captions, strict=True)
    )
    assert kinds["none"] / 3000 == pytest.approx(base.UNCAPTIONED, abs=0.02)
    assert kinds["partial"] / 3000 == pytest.approx(base.PARTIAL, abs=0.03)
    for text, whole in zip(bare, drawn.captions, strict=True):
        assert set(re.findall(r"\w+", text)) <= set(re.findall(r"\w+", whole))
    assert sum(text.startswith("a photo of") for text in found) / 2700 == pytest.approx(0.5, abs=0.03)
    assert not {word for text in found for word in text.split()} & set(base.RARE)


def test_the_loss_is_that_of_the_velocity() -> None:
    """A UNet that always says zero errs by the mean square of alpha * noise - sigma * clean."""
    torch.manual_seed(0)
    pipeline = base.new_pipeline()
    for parameter in pipeline.unet.conv_out.parameters():
        parameter.data.zero_()
    pictures = portraits(0, 256).pictures
    with torch.no_grad():
        found = base.loss(pipeline, pictures, [""] * 256).item()
    alphas = pipeline.scheduler.alphas_cumprod
    clean = pictures.pow(2).mean()
    assert found == pytest.approx((alphas.mean() + (1 - alphas).mean() * clean).item(), rel=0.03)


def test_the_latest_time_is_the_schedulers_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A draw that rounds up to 1 is none beyond it."""
    monkeypatch.setattr(torch, "rand", lambda *size: torch.full(size, 1 - 2**-24))
    assert base.loss(base.new_pipeline(), portraits(0, base.BATCH).pictures, [""] * base.BATCH).isfinite()


def test_sampling_finds_a_picture_that_the_model_knows() -> None:
    """A UNet that knows but one picture is led to it from any noise."""
    pipeline = base.new_pipeline()
    known = F.pixel_unshuffle(portraits(0, 1).pictures, 2)
    alphas = pipeline.scheduler.alphas_cumprod

    class Knowing(torch.nn.Module):
        def forward(
            self, noisy: torch.Tensor, time: torch.Tensor, encoder_hidden_states: torch.Tensor
        ) -> Any:
            alpha, sigma = alphas[time].sqrt(), (1 - alphas[time]).sqrt()
            noise = (noisy - alpha * known) / sigma
            return type("Output", (), {"sample": alpha * noise - sigma * known})

    pipeline.unet = Knowing()
    pipeline.set_progress_bar_config(disable=True)
    found = pipeline(["a person"] * 3, torch.randn(3, 12, 8, 8), steps=10)
    assert torch.allclose(found, F.pixel_shuffle(known, 2).expand(3, -1, -1, -1), atol=1e-3)


def test_networks_give_what_they_promise() -> None:
    drawn = portraits(0, 5, pool="all")
    assert Segmenter()(drawn.pictures).shape == (5, len(PARTS), 16, 16)
    judgement = AttributeNetwork()(drawn.pictures)
    assert judgement.features.shape == (5, 96) and judgement.identity.shape == (5, 64)
    assert {name: of.shape for name, of in judgement.logits.items()} == {
        name: (5, len(values)) for name, values in CLASSES.items()
    }
    assert judges.SecondOpinion()(drawn.pictures).keys() == LOOKS.keys()


def test_the_share_that_is_right_counts_what_is_seen() -> None:
    drawn = portraits(0, 400, pool="all")
    answers = targets(drawn)
    hidden = (answers["hair color"] == HIDDEN).sum().item()
    assert hidden > 20 and (answers["hair style"] == HIDDEN).any()
    logits = {
        name: F.one_hot(target.clamp(min=0), len(CLASSES[name])).float() for name, target in answers.items()
    }
    assert set(right(logits, drawn).values()) == {1.0}
    logits["skin"][:100] = 1 - logits["skin"][:100]
    assert right({"skin": logits["skin"]}, drawn) == {"skin": 0.75}


def test_the_frechet_distance_is_that_of_two_normal_distributions() -> None:
    torch.manual_seed(0)
    network = AttributeNetwork().eval().requires_grad_(False)
    pictures = [portraits(0, 300).pictures, -portraits(1, 300).pictures]
    one, other = (network(of).features.double().numpy() for of in pictures)
    means = np.square(one.mean(0) - other.mean(0)).sum()
    a, b = np.cov(one.T), np.cov(other.T)
    by_hand = means + np.trace(a + b - 2 * scipy.linalg.sqrtm(a @ b).real)
    assert quality.frechet(network, *pictures) == pytest.approx(by_hand, rel=1e-3)
    assert quality.frechet(network, pictures[0], pictures[0]) == pytest.approx(0, abs=1e-3)


def test_the_quality_that_is_recorded() -> None:
    recorded = json.loads((shipped_checkpoint("portraits") / QUALITY).read_text())
    assert recorded["looks of samples"] >= 0.9 and recorded["looks of real pictures"] >= 0.98
    assert all(recorded[name] >= 0.95 for name in recorded if name.startswith("segmenter's mIoU"))
    assert all(recorded[f"attribute network: {name}"] >= 0.95 for name in CLASSES)


@pytest.mark.slow
def test_the_quality_is_measured_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """On fewer samples, so that shares differ by a few hundredths."""
    checkpoint = shipped_checkpoint("portraits")
    monkeypatch.setattr(quality, "SAMPLES", 300)
    monkeypatch.setattr(quality, "PAGE", str(tmp_path / "samples.png"))
    recorded, measured = json.loads((checkpoint / QUALITY).read_text()), quality.quality(checkpoint)
    assert measured.keys() == recorded.keys()
    for name, value in recorded.items():
        if "Frechet" not in name:
            assert measured[name] == pytest.approx(value, abs=0.06), name
    assert measured["looks of samples"] == pytest.approx(recorded["looks of samples"], abs=0.02)
