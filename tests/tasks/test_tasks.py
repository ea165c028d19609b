"""The contract of tasks, through which every task at `mini` scale goes; and what is vtab's own."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

from study import config, tasks
from study.errors import UsageError
from study.settings import TaskSettings
from study.tasks import SPLITS, Task
from study.tasks.vtab import CHECKPOINT, QUALITY, SHIFTED, UPRIGHT, digits, quality
from study.training.passes import base_model, evaluate


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "any_task" in metafunc.fixturenames:
        names = metafunc.config.getoption("--task") or tasks.names()
        metafunc.parametrize("any_task", names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def any_task(request: pytest.FixtureRequest) -> Task:
    return tasks.load(config.load("lr_grid", [f"task={request.param}"]).task)


def rows(task: Task, split: str, count: int) -> dict[str, torch.Tensor]:
    return task.examples(split, torch.arange(count))


def distinct(task: Task, batches: list[dict[str, torch.Tensor]]) -> list[set[bytes]]:
    """Each batch's examples by their first tensor, filled to one length where they differ in it."""
    inputs = next(iter(task.join(batches).values()))
    parts = inputs.split([len(next(iter(batch.values()))) for batch in batches])
    return [{row.numpy().tobytes() for row in part} for part in parts]


def test_splits_are_there_and_do_not_overlap(any_task: Task) -> None:
    assert all(any_task.size(split) > 0 for split in SPLITS)
    train, valid, test = distinct(any_task, [rows(any_task, s, any_task.size(s)) for s in SPLITS])
    assert not train & valid and not train & test and not valid & test


def test_batches_have_one_row_per_example_and_cover_a_split(any_task: Task) -> None:
    total = 0
    for batch in any_task.batches("valid"):
        sizes = {len(tensor) for tensor in batch.values()}
        assert len(sizes) == 1 and sizes.pop() <= any_task.settings.eval_batch_size
        total += len(next(iter(batch.values())))
    assert total == any_task.size("valid")


def test_data_order_is_a_function_of_seed_and_step(any_task: Task) -> None:
    def inputs(seed: int, step: int) -> torch.Tensor:
        return next(iter(any_task.batch(seed, step).values()))

    assert torch.equal(inputs(3, 5), inputs(3, 5))
    assert not torch.equal(inputs(3, 5), inputs(3, 6))
    assert not torch.equal(inputs(3, 5), inputs(4, 5))
    assert len(inputs(0, 0)) == any_task.settings.batch_size


def test_an_epoch_visits_every_example_once(any_task: Task) -> None:
    size = any_task.settings.batch_size
    steps = any_task.size("train") // size
    everything = rows(any_task, "train", any_task.size("train"))
    *batches, whole = distinct(any_task, [*(any_task.batch(0, step) for step in range(steps)), everything])
    seen = set().union(*batches)
    assert seen <= whole
    assert len(seen) >= steps * size - (any_task.size("train") - len(whole))


def test_losses_and_predictions_have_one_row_each_and_metrics_hold_the_primary(
    any_task: Task,
) -> None:
    model = any_task.model().eval()
    batch = rows(any_task, "train", 6)
    outputs = any_task.forward(model, batch)
    losses, predictions = any_task.losses(outputs, batch), any_task.predictions(outputs, batch)
    assert losses.shape == (6,) and torch.isfinite(losses).all()
    assert len(predictions) == 6 and predictions.is_floating_point()
    assert math.isfinite(any_task.metrics(predictions, batch)[any_task.metric])
    broken = any_task.predictions(outputs * math.nan, batch)
    assert math.isnan(any_task.metrics(broken, batch)[any_task.metric])
    first = {name: value[:1] for name, value in batch.items()}
    alone = any_task.losses(any_task.forward(model, first), first)
    torch.testing.assert_close(alone[0], losses[0], rtol=1e-4, atol=1e-5)
    fresh = rows(any_task, "train", 1)  # filled to its own length
    alone = any_task.predictions(any_task.forward(model, fresh), fresh)
    torch.testing.assert_close(alone[0], predictions[0], rtol=1e-4, atol=1e-5)


def test_the_base_model_is_frozen_and_target_modules_exist(any_task: Task) -> None:
    model = any_task.model()
    assert not any(p.requires_grad for p in model.parameters())
    names = {name.rpartition(".")[2] for name, _ in model.named_modules()}
    assert set(any_task.settings.target_modules) <= names
    assert set(any_task.head_modules) <= {name for name, _ in model.named_modules()}
    assert model is not any_task.model()
    first, second = (base_model(any_task, torch.device("cpu")).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())  # its new head too


# vtab ---------------------------------------------------------------------------------------


def test_the_shipped_checkpoint_has_its_recorded_quality() -> None:
    recorded = json.loads(QUALITY.read_text())
    measured = quality()
    assert measured.keys() == recorded.keys()
    for name, value in recorded.items():
        assert measured[name] == pytest.approx(value, abs=0.004), name  # two images of 600
    assert recorded[f"{UPRIGHT} test"] > 0.95 and recorded[f"{SHIFTED} test"] < 0.2
    assert sum(f.stat().st_size for f in CHECKPOINT.iterdir()) < 1_000_000


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
