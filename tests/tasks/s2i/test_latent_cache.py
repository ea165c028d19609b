"""Latents are encoded once for all workers and studies, and are what encoding gives, bit for bit."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from study import config, tasks
from study.tasks.diffusion import latent_cache
from study.tasks.diffusion.latents import VaeLatents
from study.tasks.s2i import S2i


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/ether-study/latents"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The pictures that a VAE encodes during the test."""
    seen: list[Tensor] = []
    encode = VaeLatents.encode

    def noted(self: VaeLatents, pictures: Tensor) -> Tensor:
        seen.extend(pictures)
        return encode(self, pictures)

    monkeypatch.setattr(VaeLatents, "encode", noted)
    return seen


@pytest.fixture
def data(files: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(files / "data", tmp_path / "data"))


def loaded(arguments: list[str], *more: str) -> S2i:
    task = tasks.load(config.load("lr_grid", [*arguments, *more]).task)
    assert isinstance(task, S2i)
    return task


def all_of(task: S2i) -> dict[str, Tensor]:
    return {s: task.examples(s, torch.arange(task.size(s)))["latents"] for s in task.splits}


@torch.no_grad()
def test_latents_are_those_of_the_vae(paper_arguments: list[str], files: Path) -> None:
    task = loaded(paper_arguments)
    vae = AutoencoderKL.from_pretrained(files / "pipeline", subfolder="vae")
    for split, found in all_of(task).items():
        pictures = [task.splits[split].pictures([row]) for row in range(task.size(split))]
        direct = [vae.encode(picture).latent_dist.mode() * vae.config.scaling_factor for picture in pictures]
        assert torch.equal(found, torch.cat(direct))


def test_every_picture_is_encoded_once_for_all(
    paper_arguments: list[str], encoded: list[Tensor], cache: Path
) -> None:
    """By two tasks at work at the same time, in batches of any size; a third one encodes none."""
    one, other = loaded(paper_arguments), loaded(paper_arguments)
    for step in range(12):
        for task in (one, other):
            batch = task.batch(step, step)
            assert all(torch.equal(batch[name], one.batch(step, step)[name]) for name in batch)
    first = all_of(one)
    count = sum(one.size(split) for split in one.splits)
    assert len(encoded) == count
    third = loaded(paper_arguments)
    assert all(torch.equal(latents, first[split]) for split, latents in all_of(third).items())
    assert len(encoded) == count
    (file,) = cache.iterdir()
    assert any(f"latents of {count} pictures" in note and str(file) in note for note in third.notes)


def test_the_cache_follows_the_content_of_data_and_vae(
    paper_arguments: list[str], encoded: list[Tensor], data: Path, files: Path, tmp_path: Path, cache: Path
) -> None:
    all_of(loaded(paper_arguments))
    count = len(encoded)
    all_of(loaded(paper_arguments, f"task.data={data}"))  # the same, in another place
    assert len(encoded) == count and len(list(cache.iterdir())) == 1
    pipeline = shutil.copytree(files / "pipeline", tmp_path / "pipeline")
    vae = AutoencoderKL.from_pretrained(pipeline, subfolder="vae")
    vae.encoder.conv_in.weight.data *= 2
    vae.save_pretrained(pipeline / "vae")
    all_of(loaded(paper_arguments, f"task.model={pipeline}"))
    assert len(encoded) == 2 * count and len(list(cache.iterdir())) == 2


def test_a_picture_that_changes_is_encoded_anew(
    paper_arguments: list[str], encoded: list[Tensor], data: Path
) -> None:
    """Even while a task is at work, whose latents must not be taken for the changed picture's later."""
    task = loaded(paper_arguments, f"task.data={data}")
    before = all_of(task)["test"]
    count = len(encoded)
    Image.new("RGB", (40, 36), "red").save(data / "images/validation/validation_2.jpg")
    after = all_of(task)["test"]
    assert len(encoded) == count + 1
    assert [torch.equal(*pair) for pair in zip(before, after, strict=True)] == [
        row != 2 for row in range(len(before))
    ]


@pytest.mark.parametrize("damage", ["cut", "zeroed", "a flipped bit"])
def test_what_is_damaged_is_made_again(
    damage: str, paper_arguments: list[str], encoded: list[Tensor], cache: Path
) -> None:
    before = all_of(loaded(paper_arguments))
    count = len(encoded)
    (file,) = cache.iterdir()
    content = bytearray(file.read_bytes())
    if damage == "cut":
        content = content[: len(content) // 2]
    else:
        content[-5] = 0 if damage == "zeroed" else content[-5] ^ 1
    content[:100] = bytes(100)
    file.write_bytes(content)
    after = all_of(loaded(paper_arguments))
    assert all(torch.equal(after[split], before[split]) for split in before)
    assert count < len(encoded) <= 2 * count


def test_without_a_cache_the_numbers_are_the_same(
    paper_arguments: list[str], cache: Path, encoded: list[Tensor]
) -> None:
    kept = all_of(loaded(paper_arguments))
    shutil.rmtree(cache)
    cache.write_text("a file in the folder's place")
    task = loaded(paper_arguments)
    assert all(torch.equal(latents, kept[split]) for split, latents in all_of(task).items())
    assert any("cannot be written" in note for note in task.notes)
    count = len(encoded)
    all_of(task)
    assert len(encoded) == count  # once for this process all the same


def test_what_was_not_used_for_longest_makes_room(
    paper_arguments: list[str], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.mkdir(parents=True)
    for age, name in enumerate(("newest", "older", "oldest")):
        (cache / f"{name}.bin").write_bytes(bytes(1000))
        os.utime(cache / f"{name}.bin", (1e9 - age, 1e9 - age))
    task = loaded(paper_arguments)
    needed = task._cached._bytes  # type: ignore[union-attr]
    monkeypatch.setattr(latent_cache, "MOST_BYTES", needed + 1500)
    all_of(task)
    (made,) = {path.stem for path in cache.iterdir()} - {"newest"}
    assert made == task._cached.path.stem  # type: ignore[union-attr]
