"""Fingerprints tell another content, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from study import config, tasks
from study.settings import TaskSettings
from study.tasks import shipped_checkpoint
from study.tasks.loading import fingerprint
from study.tasks.loading.fingerprint import (
    checkpoint_fingerprint,
    data_fingerprint,
    judge_fingerprints,
    model_fingerprint,
    source_fingerprint,
)

CSV = "text,label\na cat,yes\na dog,no\n"


def of_data(path: Path | str) -> str:
    return source_fingerprint(TaskSettings(name="glue", model="shipped", data=str(path)))


def with_times_of(other: os.stat_result, path: Path) -> None:
    os.utime(path, ns=(other.st_atime_ns, other.st_mtime_ns))


def test_other_content_of_the_same_size_and_time_is_told(tmp_path: Path) -> None:
    data = tmp_path / "my.csv"
    data.write_text(CSV)
    before, times = of_data(data), data.stat()
    data.write_text("text,label\na cat,no\na dog,yes\n"[: len(CSV)])
    with_times_of(times, data)
    assert data.stat().st_size == times.st_size and data.stat().st_mtime_ns == times.st_mtime_ns
    assert of_data(data) != before


def test_equal_content_at_another_time_place_or_name_is_the_same(tmp_path: Path) -> None:
    data, other = tmp_path / "my.csv", tmp_path / "elsewhere" / "your.csv"
    data.write_text(CSV)
    before = of_data(data)
    assert before.startswith("sha256:")
    os.utime(data, (1, 1))
    assert of_data(data) == before
    other.parent.mkdir()
    shutil.copy(data, other)
    assert of_data(other) == before


def test_a_folder_is_known_by_the_names_and_contents_of_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    for name, content in {"cats/1.png": "a", "dogs/1.png": "b"}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    before = of_data(folder)
    for beside in (".DS_Store", "README.md", "cats/.thumbs/1.png"):
        (folder / beside).parent.mkdir(exist_ok=True)
        (folder / beside).write_text("x")
    assert of_data(folder) == before
    moved = folder / "dogs" / "1.png"
    moved.rename(folder / "cats" / "2.png")  # another label, the same bytes
    assert of_data(folder) != before
    (folder / "cats" / "2.png").rename(moved)
    assert of_data(folder) == before
    shutil.move(folder / "dogs", tmp_path / "dogs")
    (folder / "dogs").symlink_to(tmp_path / "dogs")
    assert of_data(folder) == before


def test_what_is_too_large_to_be_read_is_known_by_sizes_times_and_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "my.csv"
    data.write_bytes(bytes(2**24))
    monkeypatch.setattr(fingerprint, "WHOLE", 10)
    before, times = of_data(data), data.stat()
    assert before.startswith("stat:") and of_data(data) == before
    with data.open("r+b") as file:
        file.seek(-1, 2)
        file.write(b"x")
    with_times_of(times, data)
    assert of_data(data) != before
    data.write_bytes(bytes(2**24))
    with_times_of(times, data)
    assert of_data(data) == before
    os.utime(data, (1, 1))
    assert of_data(data) != before


def test_a_hub_name_is_known_by_the_commit_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert of_data("nyu-mll/glue") == ""
    main = tmp_path / "datasets--nyu-mll--glue" / "refs" / "main"
    main.parent.mkdir(parents=True)
    main.write_text("bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c")
    assert of_data("nyu-mll/glue") == "revision:bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c"


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return Path(shutil.copytree(shipped_checkpoint("vtab"), tmp_path / "vit"))


def of_model(path: Path) -> str:
    return model_fingerprint(tasks.load(config.load("lr_grid", [f"task.model={path}"]).task))


def test_other_weights_of_the_same_size_are_another_model(checkpoint: Path) -> None:
    before = of_model(checkpoint)
    weights = checkpoint / "model.safetensors"
    size, times = weights.stat().st_size, weights.stat()
    tensors = load_file(weights)
    name = next(name for name, tensor in tensors.items() if tensor.ndim == 2)
    tensors[name] = tensors[name].roll(1, 0)
    save_file(tensors, weights, metadata={"format": "pt"})
    with_times_of(times, weights)
    assert weights.stat().st_size == size
    assert of_model(checkpoint) != before


def test_what_lies_beside_a_checkpoint_is_no_part_of_it(checkpoint: Path) -> None:
    before = of_model(checkpoint)
    for beside in ("trainer_state.json", "README.md", "optimizer.pt", "checkpoint-5/model.safetensors"):
        (checkpoint / beside).parent.mkdir(exist_ok=True)
        (checkpoint / beside).write_text("x")
    assert of_model(checkpoint) == before
    settings = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps(settings | {"layer_norm_eps": 1e-3}))
    assert of_model(checkpoint) != before


def test_models_by_which_scores_are_made_are_known_by_their_content(checkpoint: Path, tmp_path: Path) -> None:
    """Each by its setting: a folder, a file, a name on the hub that was never fetched."""
    inception = tmp_path / "inception.pth"
    inception.write_bytes(b"weights")
    settings = TaskSettings(segmenter=str(checkpoint), inception=str(inception))
    before = judge_fingerprints(settings)
    assert [part.split()[0] for part in before.split(", ")] == ["segmenter", "inception"]
    for changed in (checkpoint / "model.safetensors", checkpoint / "config.json", inception):
        was, times = changed.read_bytes(), changed.stat()
        changed.write_bytes(was[:-1] + bytes([was[-1] ^ 1]))
        with_times_of(times, changed)
        assert judge_fingerprints(settings) != before, changed
        changed.write_bytes(was)
        assert judge_fingerprints(settings) == before
    assert judge_fingerprints(TaskSettings(segmenter="someone/segmenter")) == "segmenter unknown"
    assert judge_fingerprints(TaskSettings()) == ""


def test_every_part_of_a_pipeline_is_part_of_the_model(tmp_path: Path) -> None:
    pipeline = Path(shutil.copytree(shipped_checkpoint("portraits"), tmp_path / "pipeline"))
    before = checkpoint_fingerprint(str(pipeline))
    read = [path for path in pipeline.rglob("*") if path.is_file() and path.parent != pipeline]
    assert {path.parent.name for path in read} >= {"unet", "text_encoder", "tokenizer", "scheduler"}
    for path in (*read, pipeline / "model_index.json"):
        was = path.read_bytes()
        path.write_bytes(was + b" ")
        assert checkpoint_fingerprint(str(pipeline)) != before, path
        path.write_bytes(was)
    assert checkpoint_fingerprint(str(pipeline)) == before


def test_generated_data_are_known_by_their_examples() -> None:
    """Another subset is other data; the same one is the same again, whatever a run trains with."""
    found = [
        data_fingerprint(tasks.load(config.load("lr_grid", ["task=glue", *more]).task))
        for more in (["task.subset=topic"], ["task.subset=topic", "task.steps=3"], ["task.subset=similarity"])
    ]
    assert found[0] == found[1] != found[2] and found[0].startswith("examples:")


def test_numbers_that_differ_by_rounding_alone_are_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(100, 8, generator=generator)
    labels = torch.arange(100) % 2

    def digest(features: torch.Tensor, labels: torch.Tensor) -> str:
        return fingerprint._digest(fingerprint._described({"features": features, "labels": labels}))

    before = digest(features, labels)
    assert digest(features * (1 + 1e-7), labels) == before
    assert digest(features.flip(0), labels) != before  # the same rows in another order
    assert digest(features, 1 - labels) != before
