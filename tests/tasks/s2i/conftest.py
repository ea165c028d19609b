"""The miniature, and a folder with everything that the paper's scale needs, in small."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import tiny_diffusion

from study import config, tasks
from study.settings import SweepSettings
from study.tasks.s2i import S2i

QUICK = ["task=s2i", "task.sampling_steps=2", "task.eval_batch_size=8"]


@pytest.fixture(scope="session")
def sweep() -> SweepSettings:
    return config.load("lr_grid", QUICK)


@pytest.fixture(scope="session")
def mini(sweep: SweepSettings) -> S2i:
    task = tasks.load(sweep.task)
    assert isinstance(task, S2i)
    return task


@pytest.fixture(scope="session")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `pipeline`, `segmenter` and `data`."""
    root = tmp_path_factory.mktemp("paper")
    tiny_diffusion.stable_diffusion().save_pretrained(root / "pipeline")
    tiny_diffusion.segmenter(root / "segmenter")
    tiny_diffusion.map_folder(root / "data")
    return root


@pytest.fixture(scope="session")
def paper_arguments(files: Path) -> list[str]:
    """What sets the paper's scale on those files."""
    return [
        "task=s2i", "scale=paper", f"task.model={files / 'pipeline'}", f"task.data={files / 'data'}",
        f"task.segmenter={files / 'segmenter'}", "task.steps=2", "task.batch_size=2",
        "task.eval_batch_size=3", "task.sampling_steps=2", "task.evaluations=1", "task.precision=float32",
    ]  # fmt: skip
