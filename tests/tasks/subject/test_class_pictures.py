"""Pictures of a class are drawn once, are the untouched model's, and what became of their file is seen."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from study import config
from study.planning.inspection import Fingerprints
from study.settings import TaskSettings
from study.tasks.diffusion.subjects.class_pictures import ClassPictures
from study.tasks.loading.fingerprint import data_fingerprint, made_fingerprints

from .conftest import arguments, of


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/ether-study/class_pictures"


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What pictures are drawn for during the test."""
    seen: list[tuple[str, ...]] = []
    draw = ClassPictures._drawn

    def noted(self: ClassPictures, captions: tuple[str, ...]) -> torch.Tensor:
        seen.append(captions)
        return draw(self, captions)

    monkeypatch.setattr(ClassPictures, "_drawn", noted)
    return seen


def settings(files: Path, *more: str) -> TaskSettings:
    return config.load("lr_grid", arguments(files, *more)).task


def test_they_are_drawn_once_for_all_tasks_of_the_class(
    files: Path, cache: Path, drawn: list[tuple[str, ...]]
) -> None:
    first = of(config.load("lr_grid", arguments(files)))
    rows = first.rows("train", 0)
    latents = first.examples("train", rows)["latents"]
    again = of(config.load("lr_grid", arguments(files)))
    assert torch.equal(again.examples("train", rows)["latents"], latents)
    assert drawn == [("a photo of hat",) * 4]
    alone = latents[[first.examples_of["train"][row].sampled for row in rows.tolist()]]
    assert len({each.numpy().tobytes() for each in alone}) == 4  # each from noise of its own
    other = of(config.load("lr_grid", arguments(files, "task.class_pictures=3")))
    other.examples("train", other.rows("train", 0))
    assert drawn[1:] == [("a photo of hat",) * 3]


@torch.no_grad()
def test_they_are_what_diffusers_draws(files: Path, cache: Path) -> None:
    from diffusers import DPMSolverMultistepScheduler, StableDiffusionPipeline

    from study.tasks.diffusion.sampling import noise_of
    from study.tasks.diffusion.subjects.class_pictures import FIRST_NOISE

    task = of(config.load("lr_grid", arguments(files)))
    latents = task.class_pictures.of(("a photo of hat",) * 4)
    theirs = StableDiffusionPipeline.from_pretrained(files / "pipeline")
    theirs.set_progress_bar_config(disable=True)
    theirs.scheduler = DPMSolverMultistepScheduler.from_config(theirs.scheduler.config)
    noise = torch.stack([noise_of(FIRST_NOISE + n, latents.shape[1:]) for n in range(4)])
    pictures = theirs(
        ["a photo of hat"] * 4, latents=noise, num_inference_steps=2, guidance_scale=7.5, output_type="pt"
    ).images
    torch.testing.assert_close(task.pipeline.latents.encode(pictures * 2 - 1), latents, rtol=1e-3, atol=1e-3)


def test_a_torn_file_is_drawn_again(files: Path, cache: Path, drawn: list[tuple[str, ...]]) -> None:
    task = of(config.load("lr_grid", arguments(files)))
    captions = ("a photo of hat",) * 4
    latents = task.class_pictures.of(captions)
    (file,) = cache.glob("*")
    content = file.read_bytes()
    for damage in (content[:-1] + bytes([content[-1] ^ 1]), content[:50], b""):
        file.write_bytes(damage)
        again = of(config.load("lr_grid", arguments(files))).class_pictures
        assert torch.equal(again.of(captions), latents)
        assert [path.name for path in cache.glob("*")] == [file.name] and file.read_bytes() == content
    assert len(drawn) == 4


def test_the_first_to_end_decides_for_all(files: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another worker, on another kind of GPU, draws the same pictures with other last bits."""
    captions = ("a photo of hat",) * 4
    slow, fast = (of(config.load("lr_grid", arguments(files))).class_pictures for _ in range(2))
    draw = slow._drawn
    found = []

    def meanwhile(captions: tuple[str, ...]) -> torch.Tensor:
        found.append(fast.of(captions))
        return draw(captions) + 1e-3

    monkeypatch.setattr(slow, "_drawn", meanwhile)
    assert torch.equal(slow.of(captions), found[0])


def test_they_are_part_of_what_a_study_is_made_of(files: Path, cache: Path) -> None:
    """Other pictures under the same settings are seen; before they are drawn, there is nothing to compare."""
    task = of(config.load("lr_grid", arguments(files)))
    before = made_fingerprints(task)
    assert "class_pictures unknown" in before and "dino sha256:" in before
    for noun in ("hat", "cat"):
        task.class_pictures.of((f"a photo of {noun}",) * 4)
    now = made_fingerprints(task)
    assert "class_pictures latents-" in now and data_fingerprint(task).startswith("sha256:")
    assert Fingerprints(judges=now).changed(Fingerprints(judges=before)) == []
    assert Fingerprints(judges=now[:-1] + "x").changed(Fingerprints(judges=now)) == ["class_pictures"]


def test_without_them_a_batch_is_of_the_subject_alone(files: Path, drawn: list[tuple[str, ...]]) -> None:
    task = of(config.load("lr_grid", arguments(files, "task.class_pictures=0", "task.batch_size=3")))
    for seed in range(3):
        assert task.batch(seed, 0)["has_subject"].all() and len(task.batch(seed, 5)["number"]) == 3
    assert not drawn and task.drawn() == {}
